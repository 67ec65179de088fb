-- Only the superuser has business in these two; by default every login may enter them.
REVOKE CONNECT ON DATABASE postgres, template1 FROM PUBLIC;
