"""Messages and results lie outside row-level security, so they carry ids, counts and status words, and nothing said."""

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import psycopg
import pytest
from psycopg import sql

from rhesis.backend.app.database import tenant_session
from rhesis.backend.app.schemas.endpoints import EndpointCreate
from rhesis.backend.app.services import endpoints
from rhesis.backend.app.services.runs import create_run
from rhesis.backend.domain.actor import Actor
from rhesis.backend.tasks import launch_run
from support.database import TestDatabase
from support.processes import celery_worker
from support.waiting import eventually
from support.world import add_world, result_rows, run_row

PROMPT, ANSWER, TOKEN, HEADER, EXPECTED = (
    f"canary-{word}-6f1e" for word in ("prompt", "answer", "token", "header", "expected")
)
TERMINAL = {"Completed", "Partial", "Failed", "Cancelled"}


class _Endpoint(BaseHTTPRequestHandler):
    """Says the canary whatever it is asked, also where it refuses."""

    timeout = 30

    def do_POST(self) -> None:
        prompt = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["input"]
        body = json.dumps({"output": f"ok {ANSWER} {EXPECTED}" if "wrong" not in prompt else ANSWER}).encode()
        self.send_response(500 if prompt.startswith("error") else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Endpoint)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/chat"
    server.shutdown()
    server.server_close()
    thread.join(timeout=10)


def everything_in(database: TestDatabase, schema: str) -> dict[str, str]:
    """Return all rows of all tables of a schema as text, bytes decoded and base64 as well."""
    with database.admin() as connection:
        names = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = %s", (schema,)).fetchall()
        return {name: " ".join(_rows(connection, schema, name)) for (name,) in names}


def _rows(connection: psycopg.Connection, schema: str, table: str) -> list[str]:
    statement = sql.SQL("SELECT * FROM {}.{}").format(sql.Identifier(schema), sql.Identifier(table))
    return [" ".join(map(_text, row)) for row in connection.execute(statement).fetchall()]


def _text(value: Any) -> str:
    if isinstance(value, bytes | memoryview):
        return bytes(value).decode("utf-8", "replace")
    text = json.dumps(value, default=str, ensure_ascii=False)
    return f"{text} {_opened(str(value))}"


def _opened(text: str) -> str:
    """Return the body of a message of the stock broker, which is base64 in JSON."""
    try:
        return base64.b64decode(json.loads(text)["body"]).decode("utf-8", "replace")
    except (ValueError, KeyError, TypeError):
        return ""


@pytest.mark.parametrize(("mode", "poison"), [("Parallel", ""), ("Parallel", "poison"), ("Sequential", "poison")])
def test_a_run_leaves_nothing_that_was_said_in_queue_and_log(database, tenant, tmp_path, url, mode, poison):
    """Answers, refusals and failing metrics, and a result that the database refuses with the prompt in its message."""
    prompts = [PROMPT, f"wrong {PROMPT}", f"error {PROMPT}", f"{PROMPT} {poison}"]
    metrics = [
        {"name": "contains", "parameters": {"value": "ok"}},
        {"name": "equals", "parameters": {"value": EXPECTED}},
    ]
    actor = Actor(tenant.user_id, tenant.organization_id)
    world = add_world(database, tenant, prompts=prompts, url=url, metrics=metrics, attributes={"execution_mode": mode})
    _give_credentials(database, actor, world.configuration_id, url)
    _break_results_of_poison(database)
    with celery_worker(database, tmp_path, "-P", "threads", "-c", "4", RHESIS_TEST_TIMEOUT_SECONDS="5") as worker:
        with tenant_session(actor.organization_id, actor.id) as db:
            run = create_run(db, actor, world.configuration_id, deadline_seconds=40)
        launch_run(run, actor)
        row = eventually(lambda: _ended(database, run.id), within=60, what=f"the end of {run.id}")
        eventually(lambda: _is_stored(database, run.body_task_id), within=20, what="the callback's result is stored")
    assert row["status"] == "Partial"
    stored = json.dumps(result_rows(database, run.id))
    assert ANSWER in stored, "the canaries were there"
    queue = everything_in(database, "rhesis_queue")
    assert str(run.id) in queue["kombu_message"], "the search finds what messages hold"
    assert "SUCCESS" in queue["celery_taskmeta"]
    log = worker.log.read_text()
    for canary in (PROMPT, ANSWER, TOKEN, HEADER, EXPECTED, tenant.email):
        assert not [name for name, text in queue.items() if canary in text], canary
        assert canary not in log, f"{canary} in the worker's log"


def _give_credentials(database: TestDatabase, actor: Actor, configuration_id: object, url: str) -> None:
    wanted = EndpointCreate(
        name="guarded", url=url, response_mappings={"output": "$.output"}, auth_type="bearer_token", auth_token=TOKEN,
        request_headers={"X-Key": HEADER}, request_body_template={"input": "{{ input }}"},
    )  # fmt: skip
    with tenant_session(actor.organization_id, actor.id) as db:
        endpoint = endpoints.create_endpoint(db, actor, wanted)
    database.fetch("UPDATE rhesis.test_configuration SET endpoint_id = %s WHERE id = %s", endpoint.id, configuration_id)


def _break_results_of_poison(database: TestDatabase) -> None:
    """Let the database refuse a result, with the answer and the prompt in its message, as a real error has."""
    database.fetch("""
        CREATE FUNCTION rhesis.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
        DECLARE
            said text;
        BEGIN
            IF NEW.error_type IS DISTINCT FROM 'not_run' THEN
                SELECT prompt INTO said FROM rhesis.test WHERE id = NEW.test_id AND prompt ~ 'poison';
                IF FOUND THEN RAISE EXCEPTION USING MESSAGE = 'refused: ' || said; END IF;
            END IF;
            RETURN NEW;
        END $$
    """)
    database.fetch(
        "CREATE TRIGGER refuse BEFORE INSERT ON rhesis.test_result FOR EACH ROW EXECUTE FUNCTION rhesis.refuse()"
    )


def _ended(database: TestDatabase, run_id: Any) -> dict[str, object] | None:
    row = run_row(database, run_id)
    return row if row["status"] in TERMINAL else None


def _is_stored(database: TestDatabase, task_id: str) -> bool:
    rows = database.fetch("SELECT status FROM rhesis_queue.celery_taskmeta WHERE task_id = %s", task_id)
    return bool(rows) and rows[0][0] in {"SUCCESS", "FAILURE"}
