-- Who may see and write what. Row-level security is forced, so that it binds the owner as well, and fails closed:
-- with no tenant bound, the policies of rhesis_app match nothing.


DO $tenants$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['organization', 'user', 'token', 'endpoint', 'test', 'test_set', 'test_test_set',
                                'test_configuration', 'test_run', 'test_result', 'task'] LOOP
        EXECUTE format('ALTER TABLE rhesis.%I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE rhesis.%I FORCE ROW LEVEL SECURITY', name);
    END LOOP;
    FOREACH name IN ARRAY ARRAY['user', 'token', 'endpoint', 'test', 'test_test_set', 'test_configuration',
                                'test_run', 'test_result', 'task'] LOOP
        EXECUTE format(
            'CREATE POLICY tenant ON rhesis.%I TO rhesis_app '
            'USING (organization_id = NULLIF(current_setting(''app.current_organization'', true), '''')::uuid) '
            'WITH CHECK (organization_id = NULLIF(current_setting(''app.current_organization'', true), '''')::uuid)',
            name);
    END LOOP;
END
$tenants$;

CREATE POLICY tenant ON rhesis.organization TO rhesis_app
    USING (id = NULLIF(current_setting('app.current_organization', true), '')::uuid)
    WITH CHECK (id = NULLIF(current_setting('app.current_organization', true), '')::uuid);
CREATE POLICY tenant ON rhesis.test_set TO rhesis_app
    USING (organization_id = NULLIF(current_setting('app.current_organization', true), '')::uuid
           AND (visibility = 'organization'
                OR user_id = NULLIF(current_setting('app.current_user', true), '')::uuid))
    WITH CHECK (organization_id = NULLIF(current_setting('app.current_organization', true), '')::uuid);

GRANT SELECT ON rhesis.organization TO rhesis_app;
GRANT SELECT ON rhesis."user" TO rhesis_app;
GRANT SELECT (id, organization_id, user_id, name, prefix, expires_at, last_used_at, revoked_at, created_at, updated_at),
      INSERT, UPDATE (name, revoked_at) ON rhesis.token TO rhesis_app;
GRANT SELECT, INSERT, UPDATE, DELETE
    ON rhesis.endpoint, rhesis.test, rhesis.test_set, rhesis.test_test_set, rhesis.test_configuration, rhesis.test_run,
       rhesis.test_result, rhesis.task
    TO rhesis_app;
GRANT SELECT ON rhesis.worker_heartbeat TO rhesis_app;

-- Before a tenant is known: finding a token's owner, and a superuser's organizations, users and tokens.
CREATE POLICY identity ON rhesis.organization TO rhesis_identity USING (true) WITH CHECK (true);
CREATE POLICY identity ON rhesis."user" TO rhesis_identity USING (true) WITH CHECK (true);
CREATE POLICY identity ON rhesis.token TO rhesis_identity USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE ON rhesis.organization, rhesis."user", rhesis.token TO rhesis_identity;

-- The reaper and the monitor: may find and close runs of every tenant, and may not read what the tests said.
CREATE POLICY queue_reads ON rhesis.test_run FOR SELECT TO rhesis_queue USING (true);
CREATE POLICY queue_closes ON rhesis.test_run FOR UPDATE TO rhesis_queue USING (true) WITH CHECK (true);
CREATE POLICY queue_reads ON rhesis.test_result FOR SELECT TO rhesis_queue USING (true);
CREATE POLICY queue_adds ON rhesis.test_result FOR INSERT TO rhesis_queue WITH CHECK (status = 'Error');
GRANT SELECT (id, organization_id, test_configuration_id, status, task_id, body_task_id, deadline, test_ids, total_tests,
              completed_tests, failed_tasks, started_at, created_at, updated_at, completed_at, error),
      UPDATE (status, completed_at, error, completed_tests, failed_tasks, mean_execution_time_ms,
              total_execution_time_ms)
    ON rhesis.test_run TO rhesis_queue;
GRANT SELECT (id, organization_id, test_run_id, test_id, status, error_type, execution_time_ms),
      INSERT (organization_id, test_run_id, test_id, test_configuration_id, status, error_type, test_output)
    ON rhesis.test_result TO rhesis_queue;
GRANT SELECT, INSERT, UPDATE, DELETE ON rhesis.worker_heartbeat TO rhesis_queue;
