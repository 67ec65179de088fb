"""Celery's stock PostgreSQL result backend, with a pool.

The stock one opens a connection, and builds an engine, for each read and write in every process that has not been
forked, which is what a worker of threads is: 64 of them held up to 60 connections and spent a third of their time on
it. Registered for `db+…` URLs through the loader's `override_backends`; everything else is Celery's own.
"""

import os
import threading
from typing import Any

from celery.backends.database import DatabaseBackend
from celery.backends.database.session import SessionManager
from sqlalchemy import Engine, create_engine
from sqlalchemy.orm import sessionmaker

POOL_SIZE = 8
# Celery's own defaults hold arguments for a pool of another kind as well.
_PASSED_ON = ("pool_pre_ping", "pool_recycle", "connect_args", "echo")


class _Engines:
    """One engine for each URL and process. Celery makes a backend for each thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._engines: dict[str, Engine] = {}
        os.register_at_fork(after_in_child=self._forget)

    def get(self, url: str, options: dict[str, Any], manager: SessionManager) -> Engine:
        with self._lock:
            engine = self._engines.get(url)
            if engine is None:
                chosen = {name: options[name] for name in _PASSED_ON if name in options}
                engine = create_engine(url, pool_size=POOL_SIZE, max_overflow=POOL_SIZE, hide_parameters=True, **chosen)
                SessionManager.prepare_models(manager, engine)
                self._engines[url] = engine
            return engine

    def discard(self, url: str | None = None) -> None:
        """Close the engine of a URL, or all of them."""
        with self._lock:
            names = list(self._engines) if url is None else [url]
            found = [self._engines.pop(name) for name in names if name in self._engines]
        for engine in found:
            engine.dispose()

    def _forget(self) -> None:
        # The sockets are the parent's.
        self._lock = threading.Lock()
        for engine in self._engines.values():
            engine.dispose(close=False)
        self._engines = {}


_engines = _Engines()
close_pools = _engines.discard


class PooledSessionManager(SessionManager):
    """Hands out sessions on the process's pooled engine."""

    def get_engine(self, dburi: str, **kwargs: Any) -> Engine:
        """Return the process's engine for this URL."""
        return _engines.get(dburi, kwargs, self)

    def create_session(self, dburi: str, short_lived_sessions: bool = False, **kwargs: Any) -> Any:  # noqa: ARG002, FBT001, FBT002 - Celery's signature
        """Return the engine and a maker of sessions."""
        engine = self.get_engine(dburi, **kwargs)
        return engine, sessionmaker(bind=engine)

    def prepare_models(self, engine: Engine) -> None:
        """Do nothing: the tables were looked after when the engine was made."""

    def invalidate(self, dburi: str) -> None:
        """Drop the engine after a failure; the next use makes another."""
        _engines.discard(dburi)


class PooledDatabaseBackend(DatabaseBackend):
    """The stock backend on pooled sessions."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.session_manager = PooledSessionManager()
