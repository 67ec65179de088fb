"""A project folder of each test's own, servers that are always stopped, and clients in processes of their own."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import psycopg
import pytest

import rhesis.backend.embedded
from rhesis.backend.embedded import Binaries, EmbeddedServer, installed_binaries

# Holds the server, says so, and ends as told: `exit` through Python's own end, anything else by letting go first.
_CLIENT = """
import sys
from pathlib import Path
from rhesis.backend.embedded import EmbeddedServer

server = EmbeddedServer(Path(sys.argv[1]))
running = server.ensure(create=True)
print("created" if running.created else "started" if running.started else "found", flush=True)
if sys.stdin.readline().strip() != "exit":
    server.release()
print("released", flush=True)
"""


@dataclass(frozen=True)
class Interpreter:
    """A Python that every account may run, and how it finds our packages."""

    command: str
    path: str

    @property
    def environment(self) -> dict[str, str]:
        return {"PYTHONPATH": self.path, "PYTHONDONTWRITEBYTECODE": "1"}


class MakeServer(Protocol):
    def __call__(self, project_folder: Path, **options: Any) -> EmbeddedServer: ...


class StartClient(Protocol):
    def __call__(self, project_folder: Path, *, uid: int | None = None) -> "subprocess.Popen[str]": ...


@pytest.fixture
def make_project() -> Iterator[Callable[[], Path]]:
    """Make folders that every account may enter: pytest's own are closed to the account that root's server runs as."""
    made: list[Path] = []

    def make() -> Path:
        folder = Path(tempfile.mkdtemp(prefix="project-", dir="/tmp")).resolve()
        folder.chmod(0o755)
        made.append(folder)
        return folder

    yield make
    for folder in made:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def project_folder(make_project: Callable[[], Path]) -> Path:
    return make_project()


@pytest.fixture
def make_server(make_project: Callable[[], Path]) -> Iterator[MakeServer]:
    """Make servers whose home is `.rhesis` of the folder; each is stopped and removed when the test ends."""
    made: list[EmbeddedServer] = []

    def make(project_folder: Path, **options: Any) -> EmbeddedServer:
        server = EmbeddedServer(project_folder / ".rhesis", **options)
        made.append(server)
        return server

    yield make
    for server in made:
        server.erase()


@pytest.fixture
def new_server(project_folder: Path, make_server: MakeServer) -> EmbeddedServer:
    """Return the server of the test's project, not created yet."""
    return make_server(project_folder)


@pytest.fixture(scope="session")
def template_home() -> Iterator[Path]:
    """Create one database, stopped, to copy from: a copy costs a tenth of a creation."""
    folder = Path(tempfile.mkdtemp(prefix="template-", dir="/tmp"))
    folder.chmod(0o755)
    template = EmbeddedServer(folder / ".rhesis")
    template.ensure(create=True)
    template.release()
    yield template.home
    shutil.rmtree(folder)


@pytest.fixture
def server(project_folder: Path, make_server: MakeServer, template_home: Path) -> EmbeddedServer:
    """Return the server of the test's project, created and stopped."""
    subprocess.run(["cp", "-a", str(template_home), str(project_folder / ".rhesis")], check=True)
    return make_server(project_folder)


@pytest.fixture(scope="session")
def common_interpreter() -> Interpreter:
    """Return a Python that an ordinary account may run; root's own may lie in a folder that is closed to others."""
    path = os.pathsep.join(str(Path(entry).resolve()) for entry in sys.path if "site-packages" in entry)
    source = Path(rhesis.backend.embedded.__file__).parents[3]
    candidates = (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}")
    for command in candidates:
        interpreter = Interpreter(command, f"{source}{os.pathsep}{path}")
        with suppress(OSError):
            subprocess.run(
                [command, "-c", "import rhesis.backend.embedded"],
                check=True,
                env=interpreter.environment,
                user=2,
                group=2,
                extra_groups=[],
                cwd="/",
            )
            return interpreter
    pytest.skip("needs a Python of this version that other accounts may run")


@pytest.fixture
def start_client(request: pytest.FixtureRequest) -> Iterator[StartClient]:
    """Start processes that hold a server until a line comes in on their standard input."""
    started: list[subprocess.Popen[str]] = []

    def start(project_folder: Path, *, uid: int | None = None) -> "subprocess.Popen[str]":
        common = request.getfixturevalue("common_interpreter") if uid is not None else None
        process = subprocess.Popen(
            [common.command if common else sys.executable, "-c", _CLIENT, str(project_folder / ".rhesis")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            user=uid,
            group=uid,
            extra_groups=None if uid is None else [],
            env=common.environment if common else None,
            cwd="/" if common else None,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream:
                stream.close()


@pytest.fixture
def programs() -> Binaries:
    """Return the PostgreSQL that a test would be run with."""
    return next(installed_binaries())


@pytest.fixture
def wrapped_programs(make_project: Callable[[], Path], programs: Binaries) -> Callable[[str], Binaries]:
    """Put a shell script in front of initdb; `real` in it is the program itself."""

    def wrap(script: str) -> Binaries:
        folder = make_project()
        (folder / "postgres").symlink_to(programs.program("postgres"))
        initdb = folder / "initdb"
        initdb.write_text(f"#!/bin/sh\nreal={programs.program('initdb')}\n{script}\n", encoding="utf-8")
        initdb.chmod(0o755)
        return Binaries(source="wrapped", directory=folder, version=programs.version)

    return wrap


@pytest.fixture
def wait_until() -> Callable[[Callable[[], bool]], None]:
    """Look again and again until it is so, at most 20 seconds."""

    def wait(happened: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 20
        pause = threading.Event()
        while not happened():
            assert time.monotonic() < deadline, "did not happen in 20 s"
            pause.wait(0.01)

    return wait


@pytest.fixture
def query() -> Callable[..., Any]:
    """Run one statement in a connection of its own and return the first value."""

    def run(url: str, statement: str) -> Any:
        with psycopg.connect(url, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            row = cursor.fetchone() if cursor.description else None
            return row[0] if row else None

    return run


@pytest.fixture
def postmaster() -> Callable[[EmbeddedServer], int]:
    """Return the process id of a running server."""

    def find(server: EmbeddedServer) -> int:
        data = server.ensure(create=False).data
        return int((data / "postmaster.pid").read_text().splitlines()[0])

    return find


@pytest.fixture
def kill_server(postmaster: Callable[[EmbeddedServer], int]) -> Callable[[EmbeddedServer], None]:
    """End a server's first process as the out-of-memory killer would."""

    def kill(server: EmbeddedServer) -> None:
        os.kill(postmaster(server), signal.SIGKILL)

    return kill
