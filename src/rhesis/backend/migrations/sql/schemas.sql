-- Two schemas, one owner each; PUBLIC has no part in either. Idempotent; needs CREATE on the database.
CREATE SCHEMA IF NOT EXISTS rhesis AUTHORIZATION rhesis_owner;
CREATE SCHEMA IF NOT EXISTS rhesis_queue AUTHORIZATION rhesis_queue;
REVOKE ALL ON SCHEMA rhesis FROM PUBLIC;
REVOKE ALL ON SCHEMA rhesis_queue FROM PUBLIC;
GRANT USAGE ON SCHEMA rhesis TO rhesis_app, rhesis_queue, rhesis_identity;
