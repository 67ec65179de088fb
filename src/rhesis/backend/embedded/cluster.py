"""Make, start, find and stop the server of one data folder.

Every function that changes something expects the caller to hold the server lock.
"""

import os
import shutil
import signal
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.pq import PGconn, Ping

from rhesis.backend.embedded.binaries import BUILTIN_LOCALE_MAJOR, Binaries
from rhesis.backend.embedded.credentials import LOGINS
from rhesis.backend.embedded.diagnosis import explain_log
from rhesis.backend.embedded.files import (
    is_private_directory,
    make_private_directory,
    make_staging,
    open_private,
    write_private,
)
from rhesis.backend.embedded.layout import Layout
from rhesis.backend.embedded.locks import inheritable, is_unlocked
from rhesis.backend.embedded.places import PORT, SOCKET_NAME, is_own_socket_folder
from rhesis.backend.embedded.processes import run_program, serves, spawn_detached
from rhesis.backend.errors import EmbeddedServerError

SUPERUSER = LOGINS["superuser"]

_POLL_SECONDS = 0.01
_PING_SECONDS = 5
_INITDB_SECONDS = 120.0
_ORPHAN_SECONDS = 15.0
_FAST_STOP_SECONDS = 60.0
_IMMEDIATE_STOP_SECONDS = 10.0
_LOG_BYTES = 1024 * 1024
_LOG_BYTES_KEPT = 128 * 1024


class Cluster:
    """The server of one layout; `layout` changes when a running server is found at another socket."""

    def __init__(self, layout: Layout, *, max_connections: int, start_seconds: float) -> None:
        self.layout = layout
        self._max_connections = max_connections
        self._start_seconds = start_seconds

    def create(self, binaries: Binaries, *, superuser_password: str) -> None:
        """Make the data folder beside its place and move it there whole, so that no half-made one is ever found."""
        layout = self.layout
        with inheritable(layout.running_lock, timeout_seconds=_INITDB_SECONDS) as running:
            _remove_abandoned_staging(layout.data)
            staging = make_staging(layout.data, layout.account)
            try:
                self._run_initdb(binaries, staging, superuser_password, running)
                (staging / "data").rename(layout.data)
            finally:
                shutil.rmtree(staging, ignore_errors=True)

    def major_version(self) -> int:
        """Return the major version that made the data."""
        marker = self.layout.data / "PG_VERSION"
        try:
            return int(marker.read_text(encoding="ascii"))
        except (FileNotFoundError, ValueError) as error:
            raise EmbeddedServerError(
                f"{self.layout.data} is not a whole database ({marker.name} is missing or unreadable): restore a copy "
                "of it, or move it away to begin with an empty database"
            ) from error

    def ping(self) -> Ping:
        """Ask at the socket whether a server is there; needs no password."""
        target = make_conninfo(
            host=str(self.layout.socket_directory), port=PORT, user=SUPERUSER, connect_timeout=_PING_SECONDS
        )
        return Ping(PGconn.ping(target.encode()))

    def login(self, password: str) -> psycopg.Connection:
        """Connect as superuser, whatever the caller's `PG*` variables say."""
        return psycopg.connect(
            host=str(self.layout.socket_directory),
            port=PORT,
            user=SUPERUSER,
            password=password,
            dbname=SUPERUSER,
            options="-c search_path=pg_catalog",
            connect_timeout=_PING_SECONDS,
            autocommit=True,
        )

    def is_alive(self, spawned: int | None = None) -> bool:
        """Tell whether any process of this data folder's server is left, answering or not."""
        if not is_unlocked(self.layout.running_lock):
            return True
        # Some network file systems do not pass locks on to child processes: then the process itself is looked at.
        process_id = spawned if spawned is not None else self._recorded_process()
        return process_id is not None and serves(process_id, self.layout.data)

    def find(self) -> bool:
        """Wait until a server that is there answers, and return False when there is none."""
        deadline = time.monotonic() + self._start_seconds
        while self.is_alive():
            if self.ping() == Ping.OK:
                return True
            if self._is_unreachable():
                self.stop()
                self.remove_socket_folder()
                return False
            if time.monotonic() > deadline:
                raise EmbeddedServerError(
                    f"the server of {self.layout.data} is alive but has not answered for {self._start_seconds:g} s "
                    f"(after a crash it may be replaying its log): wait, or read {self.layout.log}"
                )
            time.sleep(_POLL_SECONDS)
        return False

    def start(self, binaries: Binaries) -> None:
        """Start the server and wait until it answers. There must be none."""
        layout = self.layout
        make_private_directory(layout.socket_directory, layout.account)
        trim_log(layout.log)
        with inheritable(layout.running_lock, timeout_seconds=_ORPHAN_SECONDS) as running:
            self._remove_stale_files()
            log = open_private(layout.log, os.O_WRONLY | os.O_APPEND)
            try:
                begin = os.fstat(log).st_size
                process_id = spawn_detached(
                    layout.account, self._server_command(binaries), output=log, keep_open=(running,)
                )
            finally:
                os.close(log)
        self._await_answer(process_id, begin)

    def stop(self) -> None:
        """Stop the server: running statements end, the data is written, and nothing is left to recover."""
        for stop_signal, seconds in (
            (signal.SIGINT, _FAST_STOP_SECONDS),
            (signal.SIGQUIT, _IMMEDIATE_STOP_SECONDS),
        ):
            if (process_id := self._postmaster()) is not None:
                with suppress(ProcessLookupError):
                    os.kill(process_id, stop_signal)
            if self._await_end(seconds if process_id is not None else _ORPHAN_SECONDS):
                return
        raise EmbeddedServerError(
            f"the server of {self.layout.data} does not end: end the process named in the first line of "
            f"{self.layout.data / 'postmaster.pid'}, and try again"
        )

    def remove_socket_folder(self) -> None:
        """Leave no empty folder in a place that all programs of the machine share."""
        if is_private_directory(self.layout.socket_directory, self.layout.account):
            with suppress(OSError):
                self.layout.socket_directory.rmdir()

    def _run_initdb(self, binaries: Binaries, staging: Path, password: str, running: int) -> None:
        account = self.layout.account
        secret = staging / "password"
        write_private(secret, password + "\n")
        command = [binaries.program("initdb"), f"--pgdata={staging / 'data'}", f"--pwfile={secret}"]
        command += [f"--username={SUPERUSER}", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C"]
        if binaries.version.major >= BUILTIN_LOCALE_MAJOR:
            command += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        finished = run_program(account, command, timeout_seconds=_INITDB_SECONDS, keep_open=(running,))
        if finished.returncode != 0:
            raise EmbeddedServerError(explain_log(finished.stdout, place=self.layout.data, log=None))

    def _server_command(self, binaries: Binaries) -> list[str]:
        folder = str(self.layout.socket_directory).replace('"', '""')
        settings = {
            "listen_addresses": "",
            "port": PORT,
            # The setting is a list, so a folder with a space or a quote has to be quoted.
            "unix_socket_directories": f'"{folder}"',
            "unix_socket_permissions": "0700",
            "max_connections": self._max_connections,
            "password_encryption": "scram-sha-256",
            "timezone": "UTC",
            "log_timezone": "UTC",
            "lc_messages": "C",
            "log_destination": "stderr",
            "logging_collector": "off",
            # An error's detail may quote a row, and a statement its values: neither is written down.
            "log_min_messages": "log",
            "log_min_error_statement": "panic",
            "log_statement": "none",
            "log_checkpoints": "off",
            "log_autovacuum_min_duration": "-1",
        }
        command = [binaries.program("postgres"), "-D", str(self.layout.data)]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        return command

    def _await_answer(self, process_id: int, log_begin: int) -> None:
        deadline = time.monotonic() + self._start_seconds
        while self.ping() != Ping.OK:
            if not self.is_alive(process_id):
                words = _read_from(self.layout.log, log_begin)
                raise EmbeddedServerError(explain_log(words, place=self.layout.data, log=self.layout.log))
            if time.monotonic() > deadline:
                raise EmbeddedServerError(
                    f"the server of {self.layout.data} is starting but not ready after {self._start_seconds:g} s "
                    f"(after a crash it may be replaying its log): try again, or read {self.layout.log}"
                )
            time.sleep(_POLL_SECONDS)

    def _await_end(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self.is_alive():
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL_SECONDS)
        return True

    def _remove_stale_files(self) -> None:
        """Remove what a killed server left: the running lock is ours, so no process of it is alive.

        PostgreSQL itself would refuse to start when the number in such a file belongs to another process by now.
        """
        with suppress(FileNotFoundError):
            (self.layout.data / "postmaster.pid").unlink()
        for name in (SOCKET_NAME, f"{SOCKET_NAME}.lock"):
            with suppress(FileNotFoundError):
                (self.layout.socket_directory / name).unlink()

    def _is_unreachable(self) -> bool:
        """Look where a silent server says it listens, follow it there, and tell whether its socket has vanished."""
        if self._postmaster() is None:
            return False
        lines = self._pid_file_lines()
        if len(lines) < 8 or lines[7].strip() != "ready":  # noqa: PLR2004 - the file's last line, written when ready
            return False
        listening = Path(lines[4])
        if not (listening / SOCKET_NAME).exists():
            return True
        if listening == self.layout.socket_directory:
            return False
        self.layout = replace(self.layout, socket_directory=listening)
        # After the whole project was moved the socket has another home's name, under which nobody would look for it.
        return not is_own_socket_folder(listening, self.layout.home)

    def _postmaster(self) -> int | None:
        """Return the server's process id if that process really is this data folder's server."""
        process_id = self._recorded_process()
        return process_id if process_id is not None and serves(process_id, self.layout.data) else None

    def _recorded_process(self) -> int | None:
        lines = self._pid_file_lines()
        return int(lines[0]) if lines and lines[0].isdigit() else None

    def _pid_file_lines(self) -> list[str]:
        try:
            return (self.layout.data / "postmaster.pid").read_text(encoding="utf-8", errors="replace").splitlines()
        except (FileNotFoundError, NotADirectoryError):
            return []


def trim_log(log: Path) -> None:
    """Cut a log that has grown past its bound down to its last part; the server appends after the cut."""
    try:
        if log.stat().st_size <= _LOG_BYTES:
            return
    except FileNotFoundError:
        return
    tail = _read_from(log, log.stat().st_size - _LOG_BYTES_KEPT)
    os.truncate(log, 0)
    descriptor = open_private(log, os.O_WRONLY | os.O_APPEND)
    with os.fdopen(descriptor, "a", encoding="utf-8") as stream:
        stream.write(tail.partition("\n")[2])


def _read_from(path: Path, begin: int) -> str:
    with path.open("rb") as stream:
        stream.seek(begin)
        return stream.read().decode(errors="replace")


def _remove_abandoned_staging(data: Path) -> None:
    for leftover in data.parent.glob(f"{data.name}.new-*"):
        shutil.rmtree(leftover, ignore_errors=True)
