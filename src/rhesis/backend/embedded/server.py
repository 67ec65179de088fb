"""The private server of one project, shared by all processes that use the project."""

import atexit
import os
import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from importlib.resources import files
from pathlib import Path

import psycopg
from psycopg.pq import Ping

from rhesis.backend.embedded.binaries import Binaries, can_run, choose, copy_binaries, installed_binaries
from rhesis.backend.embedded.cluster import Cluster, trim_log
from rhesis.backend.embedded.credentials import LOGINS, Credentials, Role, libpq_url
from rhesis.backend.embedded.diagnosis import explain_connection_error, explain_os_error
from rhesis.backend.embedded.files import make_directory
from rhesis.backend.embedded.layout import Layout, remove_all, resolve_layout
from rhesis.backend.embedded.locks import SharedLock, exclusive, is_unlocked
from rhesis.backend.embedded.places import PORT
from rhesis.backend.errors import EmbeddedServerError

_START_TIMEOUT = timedelta(seconds=60)
# Longer than any start, stop or recovery that another process may be at.
_LOCK_MARGIN_SECONDS = 90.0


@dataclass(frozen=True)
class RunningServer:
    """A server that answers; `created` and `started` tell what this call had to do for it."""

    data: Path
    socket_directory: Path
    port: int
    created: bool
    started: bool


class EmbeddedServer:
    """A PostgreSQL of the project's own, started by the first process that needs it and stopped by the last.

    Safe to use from several threads, several objects and several processes at once. A forked child starts without a
    hold of its own: what it releases or how it ends never touches its parent's.

    >>> server = EmbeddedServer(Path("/project/.rhesis"))
    >>> server.exists()
    False
    """

    def __init__(
        self,
        home: Path,
        *,
        runtime_directory: Path | None = None,
        max_connections: int = 300,
        start_timeout: timedelta = _START_TIMEOUT,
        binaries: Sequence[Binaries] | None = None,
    ) -> None:
        self.home = home.resolve()
        self._runtime_directory = runtime_directory
        self._max_connections = max_connections
        self._start_seconds = start_timeout.total_seconds()
        self._available = binaries
        self._hold: SharedLock | None = None
        self._inherited: SharedLock | None = None
        self._process = os.getpid()
        self._mutex = threading.RLock()
        _instances.add(self)

    def exists(self) -> bool:
        """Tell whether a database was ever created in this home."""
        with self._one_line():
            return self._layout().has_data()

    def is_running(self) -> bool:
        """Tell whether the server answers, by asking it."""
        with self._one_line():
            layout = self._layout()
            return layout.has_data() and self._cluster(layout).ping() == Ping.OK

    def ensure(self, *, create: bool) -> RunningServer:
        """Have the server run and hold it until `release` or the end of this process.

        With `create` a database that does not exist is made. May be called again at any time: it costs one question
        to the server, and starts it again if it was killed. Raises `EmbeddedServerError`.
        """
        self._notice_fork()
        with self._mutex, self._one_line():
            cluster = self._cluster(self._layout())
            if self._hold is not None and cluster.layout.has_data() and cluster.ping() == Ping.OK:
                return _running(cluster.layout, created=False, started=False)
            self._require_possible(cluster.layout, create=create)
            self._make_home()
            with self._start_and_stop_alone(cluster.layout):
                held_before = self._hold is not None
                self._take_hold(cluster.layout)
                try:
                    return self._bring_up(cluster, create=create)
                except BaseException:
                    if not held_before:
                        with suppress(EmbeddedServerError, OSError):
                            self._let_go(cluster)
                    raise

    def url(self, role: Role, database: str = "rhesis") -> str:
        """Return the libpq URL of one login; it holds the password, so it must not be printed."""
        with self._one_line():
            layout = self._layout()
            return libpq_url(
                LOGINS[role],
                self._credentials(layout).passwords[role],
                database=database,
                socket_directory=layout.socket_directory,
                port=PORT,
            )

    def password(self, role: Role) -> str:
        """Return the password of one login, for the code that creates it."""
        with self._one_line():
            return self._credentials(self._layout()).passwords[role]

    def release(self) -> None:
        """Let go of the server and stop it if nobody else holds it; do nothing where this process holds nothing."""
        self._notice_fork()
        with self._mutex, self._one_line():
            if self._hold is None:
                return
            layout = self._layout()
            if not layout.home.is_dir():
                self._drop_hold()
                return
            with self._start_and_stop_alone(layout):
                self._let_go(self._cluster(layout))

    def stop(self) -> None:
        """Stop the server although others may hold it; the next `ensure` of any of them starts it again."""
        self._notice_fork()
        with self._mutex, self._one_line():
            layout = self._layout()
            if not layout.home.is_dir() or not layout.has_data():
                self._drop_hold()
                return
            with self._start_and_stop_alone(layout):
                self._drop_hold()
                self._stop_cluster(self._cluster(layout))

    def erase(self) -> None:
        """Stop the server and remove its data, passwords and log for good, also what lies outside the home."""
        self.stop()
        with self._mutex, self._one_line():
            layout = self._layout()
            if not layout.home.is_dir():
                return
            with self._start_and_stop_alone(layout):
                remove_all(layout)

    def _bring_up(self, cluster: Cluster, *, create: bool) -> RunningServer:
        # Another process may have made or moved something while we waited for the lock.
        cluster.layout = self._layout()
        created = not cluster.layout.has_data()
        self._require_possible(cluster.layout, create=create)
        if created:
            self._create(cluster)
        credentials = self._credentials(cluster.layout)
        expected = cluster.layout
        started = not cluster.find()
        if started:
            cluster.layout = expected
            cluster.start(self._programs(expected, cluster.major_version()))
        if started or cluster.layout != expected:
            cluster.layout.remember()
        trim_log(cluster.layout.log)
        self._open(cluster, credentials, prepare=started)
        return _running(cluster.layout, created=created, started=started)

    def _create(self, cluster: Cluster) -> None:
        layout = cluster.layout
        programs = self._programs(layout, None)
        credentials = Credentials.generate()
        if layout.data.parent == layout.outside:
            layout.make_outside()
        # The passwords come first: data without them would be lost, they without data are only replaced.
        credentials.save(layout.credentials)
        layout.remember()
        cluster.create(programs, superuser_password=credentials.passwords["superuser"])

    def _open(self, cluster: Cluster, credentials: Credentials, *, prepare: bool) -> None:
        """Log in, so that a wrong password is known now, and complete what a killed first start left undone."""
        layout = cluster.layout
        try:
            with cluster.login(credentials.passwords["superuser"]) as connection:
                if prepare and connection.execute(_statement("database_exists")).fetchone() == (False,):
                    connection.execute(_statement("close_system_databases"))
                    connection.execute(_statement("create_database"))
        except psycopg.Error as error:
            raise EmbeddedServerError(
                explain_connection_error(error, data=layout.data, credentials=layout.credentials)
            ) from error

    def _programs(self, layout: Layout, major: int | None) -> Binaries:
        binaries = self._choose(layout, major)
        if can_run(binaries, layout.account):
            return binaries
        return copy_binaries(binaries, layout.make_outside(), layout.account)

    def _choose(self, layout: Layout, major: int | None) -> Binaries:
        available = installed_binaries() if self._available is None else self._available
        return choose(available, major=major, data=layout.data)

    def _require_possible(self, layout: Layout, *, create: bool) -> None:
        """Refuse what cannot work before anything is made."""
        if not layout.has_data():
            if not create:
                raise EmbeddedServerError(f"no database at {self.home}: nothing has run here")
            self._choose(layout, None)
            return
        owner = layout.data.stat().st_uid
        if owner != layout.account.uid:
            raise EmbeddedServerError(
                f"the database in {layout.data} belongs to user id {owner} and {layout.account.name} cannot run it: "
                "run as the account that made it (root, if root did), or set RHESIS_HOME to another folder"
            )

    def _make_home(self) -> None:
        # Root's server has to pass through to its data; files in the home are closed one by one.
        self.home.parent.mkdir(parents=True, exist_ok=True)
        make_directory(self.home, 0o711 if os.geteuid() == 0 else 0o700)

    def _take_hold(self, layout: Layout) -> None:
        if self._hold is None:
            self._hold = SharedLock(layout.client_lock)
            atexit.register(self._release_at_exit)

    def _drop_hold(self) -> None:
        if self._hold is not None:
            self._hold.close()
            self._hold = None
            atexit.unregister(self._release_at_exit)

    def _let_go(self, cluster: Cluster) -> None:
        self._drop_hold()
        if is_unlocked(cluster.layout.client_lock):
            self._stop_cluster(cluster)

    def _stop_cluster(self, cluster: Cluster) -> None:
        if cluster.is_alive():
            cluster.stop()
        cluster.remove_socket_folder()
        trim_log(cluster.layout.log)

    def _release_at_exit(self) -> None:
        # The interpreter is ending: the server that could not be stopped now is re-used by the next process.
        with suppress(EmbeddedServerError, OSError):
            self.release()

    @contextmanager
    def _start_and_stop_alone(self, layout: Layout) -> Iterator[None]:
        with exclusive(layout.server_lock, timeout_seconds=self._start_seconds + _LOCK_MARGIN_SECONDS):
            yield

    def _layout(self) -> Layout:
        return resolve_layout(self.home, runtime_directory=self._runtime_directory)

    def _cluster(self, layout: Layout) -> Cluster:
        return Cluster(layout, max_connections=self._max_connections, start_seconds=self._start_seconds)

    def _credentials(self, layout: Layout) -> Credentials:
        if not layout.has_data():
            raise EmbeddedServerError(f"no database at {self.home}: nothing has run here")
        return Credentials.load(layout.credentials, data=layout.data)

    @contextmanager
    def _one_line(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise EmbeddedServerError(explain_os_error(error, home=self.home)) from error

    def _notice_fork(self) -> None:
        if self._process != os.getpid():
            self._begin_anew_in_child()

    def _begin_anew_in_child(self) -> None:
        # The inherited hold stays open, unused: it tells others that this process may still use the server.
        self._inherited = self._hold or self._inherited
        self._hold = None
        self._process = os.getpid()
        self._mutex = threading.RLock()
        atexit.unregister(self._release_at_exit)


_instances: weakref.WeakSet[EmbeddedServer] = weakref.WeakSet()


def _begin_all_anew_in_child() -> None:
    for server in tuple(_instances):
        server._begin_anew_in_child()  # noqa: SLF001 - the same module


os.register_at_fork(after_in_child=_begin_all_anew_in_child)


def _running(layout: Layout, *, created: bool, started: bool) -> RunningServer:
    return RunningServer(
        data=layout.data,
        socket_directory=layout.socket_directory,
        port=PORT,
        created=created,
        started=started,
    )


@cache
def _statement(name: str) -> bytes:
    return (files("rhesis.backend.embedded") / "sql" / f"{name}.sql").read_bytes()
