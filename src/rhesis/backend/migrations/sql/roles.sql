-- The four roles. Idempotent; needs CREATEROLE or a superuser. Passwords are the installation's own affair:
-- ALTER ROLE rhesis_app PASSWORD '...';
DO $roles$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'rhesis_owner') THEN
        CREATE ROLE rhesis_owner LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE;
    END IF;
    -- NOINHERIT: what rhesis_identity may see is reached only by an explicit SET LOCAL ROLE.
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'rhesis_app') THEN
        CREATE ROLE rhesis_app LOGIN NOINHERIT NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'rhesis_queue') THEN
        CREATE ROLE rhesis_queue LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'rhesis_identity') THEN
        CREATE ROLE rhesis_identity NOLOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE;
    END IF;
    -- A role that somebody made by hand is left as it is, so it is looked at.
    IF EXISTS (
        SELECT FROM pg_roles
        WHERE rolname IN ('rhesis_owner', 'rhesis_app', 'rhesis_queue', 'rhesis_identity')
          AND (rolsuper OR rolbypassrls)
    ) THEN
        RAISE EXCEPTION 'a rhesis role could see past row-level security: ALTER ROLE % NOSUPERUSER NOBYPASSRLS',
            (SELECT string_agg(rolname, ', ') FROM pg_roles
             WHERE rolname IN ('rhesis_owner', 'rhesis_app', 'rhesis_queue', 'rhesis_identity')
               AND (rolsuper OR rolbypassrls));
    END IF;
    IF NOT EXISTS (
        SELECT FROM pg_auth_members
        WHERE roleid = 'rhesis_identity'::regrole AND member = 'rhesis_app'::regrole
    ) THEN
        GRANT rhesis_identity TO rhesis_app;
    END IF;
    -- The login that migrates must be able to create objects for the two roles that own schemas.
    IF NOT pg_has_role(current_user, 'rhesis_owner', 'MEMBER') THEN
        EXECUTE format('GRANT rhesis_owner TO %I', current_user);
    END IF;
    IF NOT pg_has_role(current_user, 'rhesis_queue', 'MEMBER') THEN
        EXECUTE format('GRANT rhesis_queue TO %I', current_user);
    END IF;
END
$roles$;
