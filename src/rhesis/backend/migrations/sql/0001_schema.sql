-- Tables of the application, schema rhesis, owned by rhesis_owner.
--
-- Between tenant tables every foreign key carries organization_id: foreign keys are checked without row-level security,
-- so a plain one would let a tenant graft its row onto another tenant's.

CREATE FUNCTION rhesis.touch_updated_at() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END
$$;

CREATE TABLE rhesis.organization (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name text NOT NULL CHECK (name <> ''),
    is_active boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE rhesis."user" (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    organization_id uuid NOT NULL REFERENCES rhesis.organization (id),
    email text NOT NULL CHECK (email <> ''),
    name text NOT NULL DEFAULT '',
    is_active boolean NOT NULL DEFAULT true,
    is_superuser boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT user_organization_id_id_key UNIQUE (organization_id, id)
);
-- Global, unlike those of tenant tables: only a superuser inserts here, who may know every address.
CREATE UNIQUE INDEX user_email_key ON rhesis."user" (lower(email));

CREATE TABLE rhesis.token (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    organization_id uuid NOT NULL REFERENCES rhesis.organization (id),
    user_id uuid NOT NULL,
    name text NOT NULL DEFAULT '',
    digest text NOT NULL,
    prefix text NOT NULL,
    expires_at timestamptz NOT NULL,
    last_used_at timestamptz,
    revoked_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (organization_id, user_id) REFERENCES rhesis."user" (organization_id, id)
);
CREATE UNIQUE INDEX token_digest_key ON rhesis.token (digest);
CREATE INDEX token_user_idx ON rhesis.token (organization_id, user_id);

CREATE TABLE rhesis.endpoint (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    organization_id uuid NOT NULL REFERENCES rhesis.organization (id),
    user_id uuid NOT NULL,
    name text NOT NULL CHECK (name <> ''),
    description text NOT NULL DEFAULT '',
    protocol text NOT NULL DEFAULT 'REST',
    url text NOT NULL,
    method text NOT NULL DEFAULT 'POST',
    endpoint_path text NOT NULL DEFAULT '',
    request_headers jsonb NOT NULL DEFAULT '{}',
    query_params jsonb NOT NULL DEFAULT '{}',
    request_body_template jsonb,
    response_format text NOT NULL DEFAULT 'json',
    response_mappings jsonb NOT NULL DEFAULT '{}',
    auth_type text,
    auth_token text,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (organization_id, id),
    FOREIGN KEY (organization_id, user_id) REFERENCES rhesis."user" (organization_id, id)
);
COMMENT ON COLUMN rhesis.endpoint.request_headers IS 'name to encrypted value';
COMMENT ON COLUMN rhesis.endpoint.query_params IS 'name to encrypted value';
COMMENT ON COLUMN rhesis.endpoint.auth_token IS 'encrypted';

CREATE TABLE rhesis.test (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    organization_id uuid NOT NULL REFERENCES rhesis.organization (id),
    user_id uuid NOT NULL,
    external_id text,
    prompt text NOT NULL CHECK (prompt <> ''),
    expected_response text,
    language_code text,
    behaviour text,
    metrics jsonb NOT NULL DEFAULT '[]',
    priority integer NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (organization_id, id),
    FOREIGN KEY (organization_id, user_id) REFERENCES rhesis."user" (organization_id, id)
);
CREATE INDEX test_created_idx ON rhesis.test (organization_id, created_at, id);

CREATE TABLE rhesis.test_set (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    organization_id uuid NOT NULL REFERENCES rhesis.organization (id),
    user_id uuid NOT NULL,
    name text NOT NULL CHECK (name <> ''),
    description text NOT NULL DEFAULT '',
    slug text NOT NULL,
    visibility text NOT NULL DEFAULT 'organization' CHECK (visibility IN ('organization', 'user')),
    is_published boolean NOT NULL DEFAULT false,
    metrics jsonb NOT NULL DEFAULT '[]',
    attributes jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (organization_id, id),
    CONSTRAINT test_set_slug_key UNIQUE (organization_id, slug),
    FOREIGN KEY (organization_id, user_id) REFERENCES rhesis."user" (organization_id, id)
);

CREATE TABLE rhesis.test_test_set (
    organization_id uuid NOT NULL REFERENCES rhesis.organization (id),
    test_set_id uuid NOT NULL,
    test_id uuid NOT NULL,
    position integer NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (organization_id, test_set_id, test_id),
    FOREIGN KEY (organization_id, test_set_id) REFERENCES rhesis.test_set (organization_id, id) ON DELETE CASCADE,
    FOREIGN KEY (organization_id, test_id) REFERENCES rhesis.test (organization_id, id) ON DELETE CASCADE
);
CREATE INDEX test_test_set_order_idx ON rhesis.test_test_set (organization_id, test_set_id, position);
CREATE INDEX test_test_set_test_idx ON rhesis.test_test_set (organization_id, test_id);

CREATE TABLE rhesis.test_configuration (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    organization_id uuid NOT NULL REFERENCES rhesis.organization (id),
    user_id uuid NOT NULL,
    name text NOT NULL DEFAULT '',
    endpoint_id uuid NOT NULL,
    test_set_id uuid NOT NULL,
    metrics jsonb NOT NULL DEFAULT '[]',
    attributes jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (organization_id, id),
    FOREIGN KEY (organization_id, user_id) REFERENCES rhesis."user" (organization_id, id),
    FOREIGN KEY (organization_id, endpoint_id) REFERENCES rhesis.endpoint (organization_id, id),
    FOREIGN KEY (organization_id, test_set_id) REFERENCES rhesis.test_set (organization_id, id)
);
CREATE INDEX test_configuration_endpoint_idx ON rhesis.test_configuration (organization_id, endpoint_id);
CREATE INDEX test_configuration_set_idx ON rhesis.test_configuration (organization_id, test_set_id);

CREATE TABLE rhesis.test_run (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    organization_id uuid NOT NULL REFERENCES rhesis.organization (id),
    user_id uuid NOT NULL,
    test_configuration_id uuid NOT NULL,
    name text NOT NULL DEFAULT '',
    status text NOT NULL DEFAULT 'Queued'
        CHECK (status IN ('Queued', 'Progress', 'Completed', 'Partial', 'Failed', 'Cancelled')),
    task_id text NOT NULL,
    body_task_id text NOT NULL,
    execution_mode text NOT NULL DEFAULT 'Parallel' CHECK (execution_mode IN ('Parallel', 'Sequential')),
    deadline timestamptz NOT NULL,
    -- The tests as they stood at dispatch, in order: what the run owes a result for, whatever becomes of the set.
    test_ids uuid[] NOT NULL CHECK (cardinality(test_ids) > 0),
    total_tests integer NOT NULL,
    completed_tests integer NOT NULL DEFAULT 0,
    failed_tasks integer NOT NULL DEFAULT 0,
    mean_execution_time_ms double precision,
    total_execution_time_ms double precision,
    rerun_of uuid,
    started_at timestamptz,
    completed_at timestamptz,
    error text,
    attributes jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (organization_id, id),
    CONSTRAINT test_run_task_id_key UNIQUE (organization_id, task_id),
    FOREIGN KEY (organization_id, user_id) REFERENCES rhesis."user" (organization_id, id),
    FOREIGN KEY (organization_id, test_configuration_id)
        REFERENCES rhesis.test_configuration (organization_id, id)
);
CREATE INDEX test_run_created_idx ON rhesis.test_run (organization_id, created_at, id);
CREATE INDEX test_run_configuration_idx ON rhesis.test_run (organization_id, test_configuration_id);
CREATE INDEX test_run_open_deadline_idx ON rhesis.test_run (deadline) WHERE status IN ('Queued', 'Progress');

-- The last line of defence behind the conditional updates: a terminal status is final.
CREATE FUNCTION rhesis.keep_terminal_status() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'test run % is %, which is final', OLD.id, OLD.status USING ERRCODE = 'check_violation';
END
$$;
CREATE TRIGGER test_run_terminal_is_final BEFORE UPDATE OF status ON rhesis.test_run
    FOR EACH ROW
    WHEN (OLD.status NOT IN ('Queued', 'Progress') AND NEW.status IS DISTINCT FROM OLD.status)
    EXECUTE FUNCTION rhesis.keep_terminal_status();

CREATE TABLE rhesis.test_result (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    organization_id uuid NOT NULL REFERENCES rhesis.organization (id),
    test_run_id uuid NOT NULL,
    -- No foreign key: results outlive the tests they judged, and nothing may keep a run from being closed.
    test_id uuid NOT NULL,
    test_configuration_id uuid NOT NULL,
    status text NOT NULL CHECK (status IN ('Pass', 'Fail', 'Error')),
    error_type text,
    execution_time_ms double precision NOT NULL DEFAULT 0,
    test_output jsonb NOT NULL DEFAULT '{}',
    test_metrics jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT test_result_run_test_key UNIQUE (organization_id, test_run_id, test_id),
    FOREIGN KEY (organization_id, test_run_id) REFERENCES rhesis.test_run (organization_id, id) ON DELETE CASCADE,
    FOREIGN KEY (organization_id, test_configuration_id)
        REFERENCES rhesis.test_configuration (organization_id, id)
);
CREATE INDEX test_result_status_idx ON rhesis.test_result (organization_id, test_run_id, status);

CREATE TABLE rhesis.task (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    organization_id uuid NOT NULL REFERENCES rhesis.organization (id),
    user_id uuid NOT NULL,
    task_id text NOT NULL,
    name text NOT NULL,
    test_run_id uuid,
    withdrawn_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT task_task_id_key UNIQUE (organization_id, task_id),
    FOREIGN KEY (organization_id, user_id) REFERENCES rhesis."user" (organization_id, id),
    FOREIGN KEY (organization_id, test_run_id) REFERENCES rhesis.test_run (organization_id, id) ON DELETE CASCADE
);

-- Not a tenant's: which workers live. Written by the workers as rhesis_queue, read by the API.
CREATE TABLE rhesis.worker_heartbeat (
    name text PRIMARY KEY,
    host text NOT NULL,
    process_id integer NOT NULL,
    queues text[] NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    beat_at timestamptz NOT NULL DEFAULT now()
);

DO $triggers$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['organization', 'user', 'token', 'endpoint', 'test', 'test_set', 'test_configuration',
                                'test_run', 'test_result', 'task'] LOOP
        EXECUTE format('CREATE TRIGGER %I BEFORE UPDATE ON rhesis.%I FOR EACH ROW '
                       'EXECUTE FUNCTION rhesis.touch_updated_at()', name || '_touch', name);
    END LOOP;
END
$triggers$;
