"""The page on an own PostgreSQL server, followed on a server that asks for passwords: least rights, no superuser."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from rhesis.backend.embedded import EmbeddedServer
from support.documents import DOCS, Block, Terminal, blocks
from support.servers import absent
from support.waiting import eventually

PAGE = DOCS / "how-to" / "run-on-a-postgresql-server.md"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedServer]:
    """Return a PostgreSQL server without any role or database of ours."""
    server = EmbeddedServer(tmp_path / "server")
    server.ensure(create=True)
    try:
        with psycopg.connect(server.url("superuser", "postgres"), autocommit=True) as connection:
            connection.execute("DROP DATABASE rhesis")
        yield server
    finally:
        server.stop()
        server.erase()


def run_statements(server: EmbeddedServer) -> None:
    (block,) = blocks(PAGE, "sql")
    with psycopg.connect(server.url("superuser", "postgres"), autocommit=True) as connection:
        for statement in block.code.split(";\n"):
            if statement.strip():
                connection.execute(statement.encode())


@pytest.mark.timeout(180)
def test_the_page_leads_from_an_empty_server_to_a_running_service(server: EmbeddedServer, checkout: Path) -> None:
    if shutil.which("bash") is None:
        absent("bash is not installed")
    run_statements(server)
    folder = server.ensure(create=False).socket_directory

    def here(block: Block) -> Block:
        """Put this server in the place of the example's, and let the system choose the API's port."""
        code = block.code.replace("@db.example.org/rhesis", f"@/rhesis?host={folder}").replace(
            "--port 8000", "--port 0"
        )
        return replace(block, code=code)

    with Terminal(checkout, {"CELERY_WORKER_CONCURRENCY": "2"}) as terminal:
        for block in blocks(PAGE, "bash"):
            terminal.type(here(block))
        eventually(
            lambda: beating(server) == ["main", "tests"], within=60, what=f"two workers: {terminal.screen()[-3000:]}"
        )
        eventually(lambda: "listening on http://127.0.0.1:" in terminal.screen(), within=30, what="the API")
    assert rights(server) == {
        ("rhesis_app", False, False),
        ("rhesis_owner", False, False),
        ("rhesis_queue", False, False),
    }


def beating(server: EmbeddedServer) -> list[str]:
    with psycopg.connect(server.url("superuser")) as connection:
        rows = connection.execute("SELECT split_part(name, '@', 1) FROM rhesis.worker_heartbeat ORDER BY 1").fetchall()
    return [name for (name,) in rows]


def rights(server: EmbeddedServer) -> set[tuple[str, bool, bool]]:
    with psycopg.connect(server.url("superuser")) as connection:
        statement = "SELECT rolname, rolsuper, rolbypassrls FROM pg_roles WHERE rolname LIKE 'rhesis%' AND rolcanlogin"
        return set(connection.execute(statement).fetchall())
