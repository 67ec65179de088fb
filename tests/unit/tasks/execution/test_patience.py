"""An outage of the database is borne for a while, and nothing else is."""

import pytest
from sqlalchemy.exc import OperationalError

from rhesis.backend.errors import DatabaseUnavailable, NotFound
from rhesis.backend.tasks.execution.patience import patiently


def failing(errors: list[Exception]):
    def step() -> str:
        if errors:
            raise errors.pop(0)
        return "done"

    return step


def test_a_step_is_repeated_while_the_database_is_away():
    errors = [OperationalError("x", None, Exception()), DatabaseUnavailable("gone", kind="unreachable")]
    assert patiently(failing(errors), what="try") == "done"


def test_patience_ends_with_the_last_error():
    with pytest.raises(DatabaseUnavailable):
        patiently(failing([DatabaseUnavailable("gone", kind="unreachable")] * 50), what="try", seconds=0.5)


def test_any_other_error_is_raised_at_once():
    errors = [NotFound("no"), NotFound("never reached")]
    with pytest.raises(NotFound):
        patiently(failing(errors), what="try")
    assert len(errors) == 1
