"""An outage of the database or the broker is borne for a while, and nothing else is."""

import pytest
from kombu.exceptions import OperationalError as BrokerUnavailable
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as NoFreeConnection

from rhesis.backend.errors import DatabaseUnavailable, NotFound
from rhesis.backend.tasks.execution.patience import patiently


def failing(errors: list[Exception]):
    def step() -> str:
        if errors:
            raise errors.pop(0)
        return "done"

    return step


@pytest.mark.parametrize(
    "error",
    [
        OperationalError("x", None, Exception()),
        NoFreeConnection("all of them wait"),
        DatabaseUnavailable("gone", kind="unreachable"),
        BrokerUnavailable("gone"),
    ],
    ids=["statement", "pool", "connection", "broker"],
)
def test_a_step_is_repeated_while_a_server_is_away(error):
    assert patiently(failing([error, error]), what="try") == "done"


def test_patience_ends_with_the_last_error():
    with pytest.raises(DatabaseUnavailable):
        patiently(failing([DatabaseUnavailable("gone", kind="unreachable")] * 50), what="try", seconds=0.5)


def test_any_other_error_is_raised_at_once():
    errors = [NotFound("no"), NotFound("never reached")]
    with pytest.raises(NotFound):
        patiently(failing(errors), what="try")
    assert len(errors) == 1
