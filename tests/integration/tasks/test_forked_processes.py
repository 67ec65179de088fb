"""A worker replaces its processes while it is connected; a socket that two processes use breaks both."""

import os
from collections.abc import Callable

import pytest
from celery.backends.database.models import Task as StoredResult
from sqlalchemy import text

from rhesis.backend.app.database import SessionLocal
from rhesis.backend.worker import app
from support.database import TestDatabase

_SESSION = text("SELECT pg_backend_pid()")


def application() -> int:
    with SessionLocal() as db:
        return int(db.execute(_SESSION).scalar_one())


def broker() -> int:
    with app.connection_for_write() as connection:
        session = connection.default_channel.session
        found = int(session.execute(_SESSION).scalar_one())
        session.commit()
        return found


def result_backend() -> int:
    session = app.backend.ResultSession()
    with session:
        session.query(StoredResult).count()
        return int(session.execute(_SESSION).scalar_one())


def in_a_fork(step: Callable[[], int]) -> int:
    """Return what `step` returns in a child; the child says 0 when it fails."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        found = 0
        try:
            found = step()
        finally:
            os.write(writing, str(found).encode())
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        found = int(answer.read())
    os.waitpid(child, 0)
    return found


@pytest.mark.parametrize("session_of", [application, broker, result_backend])
def test_a_forked_process_opens_sessions_of_its_own(database: TestDatabase, session_of: Callable[[], int]) -> None:
    own = session_of()
    assert session_of() == own, "the session is kept for the next use"
    theirs = in_a_fork(session_of)
    assert theirs
    assert theirs != own
    assert session_of() == own, "the child has not ended its parent's session"
