"""Break each rule that keeps tenants apart, once, and see that a test notices.

    python scripts/mutate_security.py [WORD ...]

Works on a copy of the checkout with a PostgreSQL of its own, both in a temporary folder. Prints `caught` or `SURVIVED`
for each mutation (only those whose name holds one of the words, if any are given) and ends with 1 if one survived.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rhesis.backend.embedded import EmbeddedServer

PROJECT = Path(__file__).resolve().parents[1]
BACKEND = "src/rhesis/backend"
SECURITY = f"{BACKEND}/migrations/sql/0001_security.sql"
TABLES = f"{BACKEND}/migrations/sql/0001_schema.sql"
ROLES = f"{BACKEND}/migrations/sql/roles.sql"
SESSIONS = f"{BACKEND}/app/database.py"
BASE = f"{BACKEND}/tasks/base.py"
CONTEXT = f"{BACKEND}/tasks/context.py"
LAUNCHING = f"{BACKEND}/tasks/launching.py"

CATALOGUE = "tests/contract/test_row_level_security.py::test_"
ROLE = "tests/contract/test_database_roles.py::test_"
TENANTS = "tests/integration/app/test_tenant_sessions.py::test_"
GRAFTING = "tests/integration/app/test_grafting.py::test_"
REFUSALS = "tests/integration/app/test_database_refusals.py::test_"
PUBLISHING = "tests/integration/tasks/test_task_context.py::test_"
TASKS = "tests/integration/tasks/test_task_base.py::test_"
PROPERTY = "tests/property/test_two_tenants.py::test_neither_of_two_tenants_sees_or_changes_anything_of_the_other"

BOUND = "NULLIF(current_setting(''app.current_organization'', true), '''')::uuid"
OWN = f"organization_id = {BOUND}"
FORCE = "EXECUTE format('ALTER TABLE rhesis.%I FORCE ROW LEVEL SECURITY', name);"
CHECK = f"'WITH CHECK ({OWN})',"
RESULT_KEY = "(organization_id, test_run_id) REFERENCES rhesis.test_run (organization_id, id) ON DELETE CASCADE,"
PLAIN_KEY = "(test_run_id) REFERENCES rhesis.test_run (id) ON DELETE CASCADE,"
LISTENER = '@event.listens_for(TenantSession, "after_begin")\n'


@dataclass(frozen=True)
class Mutation:
    """Replace `before` by `after` in a file (empty: append), and `test` must fail. Those of roles come last."""

    name: str
    path: str
    before: str
    after: str
    test: str


MUTATIONS = (
    Mutation("row-level security not forced on results", SECURITY, FORCE,
             f"IF name <> 'test_result' THEN {FORCE} END IF;", f"{CATALOGUE}every_tenant_table_enables"),
    Mutation("row-level security off for endpoints", SECURITY, "",
             "ALTER TABLE rhesis.endpoint DISABLE ROW LEVEL SECURITY;", f"{TENANTS}a_session_sees_its_own_rows"),
    Mutation("policy without WITH CHECK", SECURITY, f"'USING ({OWN}) '\n            {CHECK}", f"'USING ({OWN})',",
             f"{CATALOGUE}the_applications_policies"),
    Mutation("WITH CHECK lets everything in", SECURITY, CHECK, "'WITH CHECK (true)',", f"{TENANTS}no_statement_writes"),
    Mutation("policy fails open when unbound", SECURITY, f"'USING ({OWN}) '",
             f"'USING (NULLIF(current_setting(''app.current_organization'', true), '''') IS NULL OR {OWN}) '",
             f"{TENANTS}an_unbound_session_sees_nothing"),
    Mutation("policy fails open, random work", SECURITY, f"'USING ({OWN}) '", "'USING (true) '", PROPERTY),
    Mutation("empty setting is an error", SECURITY, BOUND,
             "current_setting(''app.current_organization'', true)::uuid", f"{TENANTS}the_empty_setting"),
    Mutation("public test sets by policy", SECURITY, "AND (visibility = 'organization'",
             "OR (visibility = 'public'", f"{CATALOGUE}the_applications_policies"),
    Mutation("a second policy widens the first", SECURITY, "",
             "CREATE POLICY more ON rhesis.test FOR SELECT TO rhesis_app USING (true);", f"{TENANTS}a_session_sees"),
    Mutation("foreign key without organization", TABLES, RESULT_KEY, PLAIN_KEY,
             f"{CATALOGUE}foreign_keys_between"),
    Mutation("foreign key without organization, grafting", TABLES, RESULT_KEY, PLAIN_KEY,
             f"{GRAFTING}a_row_of_ones_own_cannot"),
    Mutation("unique across organizations", TABLES, "UNIQUE (organization_id, task_id)", "UNIQUE (task_id)",
             f"{CATALOGUE}unique_keys_begin"),
    Mutation("the application reads digests", SECURITY, "", "GRANT SELECT ON rhesis.token TO rhesis_app;",
             f"{ROLE}what_a_role_may_not_do"),
    Mutation("the queue reads answers", SECURITY, "", "GRANT SELECT ON rhesis.test_result TO rhesis_queue;",
             f"{ROLE}every_role_has_exactly"),
    Mutation("the queue writes verdicts", SECURITY, "WITH CHECK (status = 'Error')", "WITH CHECK (true)",
             f"{ROLE}the_reaper_can_add"),
    Mutation("a view past the policies", SECURITY, "", "CREATE VIEW rhesis.all_runs AS SELECT * FROM rhesis.test_run;",
             f"{CATALOGUE}nothing_in_the_schemas_runs"),
    Mutation("a function with its owner's rights", TABLES, "LANGUAGE plpgsql AS $$\nBEGIN\n    NEW",
             "SECURITY DEFINER LANGUAGE plpgsql AS $$\nBEGIN\n    NEW", f"{CATALOGUE}nothing_in_the_schemas_runs"),
    Mutation("the public enters the schema", SECURITY, "", "GRANT USAGE ON SCHEMA rhesis TO PUBLIC;",
             f"{ROLE}the_public_has_no_part"),
    Mutation("tenant set for the whole connection", SESSIONS, ":organization, true)", ":organization, false)",
             f"{TENANTS}nothing_stays_on_a_pooled"),
    Mutation("tenant not bound to the next transaction", SESSIONS, LISTENER, "", f"{TENANTS}the_tenant_outlives"),
    Mutation("no flush before the tenant changes", SESSIONS, "    db.flush()\n", "", f"{TENANTS}pending_changes"),
    Mutation("rows of the former tenant in memory", SESSIONS, "db.expunge_all()", "pass", f"{TENANTS}what_was_loaded"),
    Mutation("tenant changes within a savepoint", SESSIONS, "if db.in_nested_transaction():", "if False:",
             f"{TENANTS}a_session_does_not_change"),
    Mutation("binding errors swallowed", SESSIONS, "        _apply(db.connection(), tenant)\n",
             "        try:\n            _apply(db.connection(), tenant)\n        except Exception:\n            pass\n",
             f"{TENANTS}a_tenant_that_could_not"),
    Mutation("one tenant for all sessions", SESSIONS, "    def get_bind(", "    info: Any = {}\n\n    def get_bind(",
             f"{TENANTS}sessions_of_two_threads"),
    Mutation("privileged logins serve", SESSIONS, 'event.listen(made, "connect", _refuse_privileged)', "pass",
             f"{REFUSALS}a_login_that_could_see"),
    Mutation("arguments win over headers", CONTEXT, "(explicit, from_kwargs)", "(from_kwargs, explicit)",
             f"{PUBLISHING}headers_win_over"),
    Mutation("a task publishes for anybody", CONTEXT, "own.organization_id != context.organization_id:", "False:",
             f"{PUBLISHING}a_task_may_not_publish_for_another_organization_by_its"),
    Mutation("sub-tasks lose the tenant", CONTEXT, "found.is_empty), own)", "found.is_empty), TaskContext())",
             f"{PUBLISHING}a_task_passes_its_tenant_on_in_eager"),
    Mutation("the caller's arguments are changed", BASE, "copied = dict(kwargs or {})",
             "copied = kwargs if kwargs is not None else {}", f"{PUBLISHING}what_the_caller_passed"),
    Mutation("a launch takes any option", LAUNCHING, "sorted(_NOT_FOR_CALLERS & kwargs.keys())", "[]",
             f"{PUBLISHING}a_launch_refuses"),
    Mutation("a task's session is not committed", BASE, "            yield db\n            db.commit()\n",
             "            yield db\n", f"{TASKS}the_decorators_session"),
    Mutation("withdrawn tasks run", BASE, "_is_withdrawn(self, task_id)", "False", f"{TASKS}a_task_that_was_withdrawn"),
    Mutation("the application inherits identities", ROLES, "",
             "REVOKE rhesis_identity FROM rhesis_app; ALTER ROLE rhesis_app INHERIT;"
             " GRANT rhesis_identity TO rhesis_app;",
             f"{ROLE}the_application_reaches_identities"),
    Mutation("the application bypasses policies", ROLES, "", "ALTER ROLE rhesis_app BYPASSRLS;",
             f"{ROLE}no_role_of_the_service_may"),
)  # fmt: skip


@contextmanager
def copied_checkout() -> Iterator[Path]:
    """Yield a copy of the checkout, with the tests' embedded server running."""
    folder = Path(tempfile.mkdtemp(prefix="rhesis-mutants-"))
    folder.chmod(0o755)
    server = EmbeddedServer(folder / ".rhesis-test")
    try:
        for name in ("src", "tests", "packages"):
            shutil.copytree(PROJECT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("pyproject.toml", "conftest.py"):
            shutil.copy(PROJECT / name, folder / name)
        server.ensure(create=True)
        yield folder
    finally:
        server.erase()
        shutil.rmtree(folder, ignore_errors=True)


def run_tests(folder: Path, tests: Sequence[str]) -> str:
    """Run tests of the copy: `failed`, `passed`, or what kept them from saying so."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("RHESIS_", "DATABASE_", "PYTEST_"))}
    # Compiled files are told apart by second and size, which two mutations may share.
    variables = {**kept, "PYTHONPATH": str(folder / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    files = sorted({test.partition("::")[0] for test in tests})
    words = " or ".join(test.partition("::test_")[2] for test in tests)
    options = ["-q", "-k", words, "-p", "no:randomly", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", *files, *options]
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False)
    if re.search(r"^FAILED ", done.stdout, re.MULTILINE):
        return "failed"
    return "passed" if done.returncode == 0 else f"no verdict: {done.stdout.strip()[-300:]} {done.stderr[-300:]}"


def verdict_on(folder: Path, mutation: Mutation) -> str:
    """Apply a mutation, run its test, take it back; raise `ValueError` when there is nothing to replace."""
    path = folder / mutation.path
    original = path.read_text(encoding="utf-8")
    if mutation.before not in original:
        raise ValueError(f"{mutation.name}: {mutation.path} does not hold what is to be replaced")
    broken = original.replace(mutation.before, mutation.after) if mutation.before else f"{original}\n{mutation.after}\n"
    path.write_text(broken, encoding="utf-8")
    outcome = run_tests(folder, [mutation.test])
    path.write_text(original, encoding="utf-8")
    return {"failed": "caught", "passed": "SURVIVED"}.get(outcome, outcome)


def main(words: Sequence[str]) -> int:
    """Try the mutations and print what became of each."""
    chosen = [mutation for mutation in MUTATIONS if not words or any(word in mutation.name for word in words)]
    survived = 0
    with copied_checkout() as folder:
        unchanged = run_tests(folder, sorted({mutation.test for mutation in chosen}))
        if unchanged != "passed":
            print(f"the tests must pass before anything is broken: {unchanged}")
            return 1
        for mutation in chosen:
            started = time.monotonic()
            verdict = verdict_on(folder, mutation)
            survived += verdict != "caught"
            print(f"{verdict:9} {time.monotonic() - started:5.1f} s  {mutation.name}", flush=True)
    print(f"{len(chosen) - survived} of {len(chosen)} caught")
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
