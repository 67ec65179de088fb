"""What may be done with tests."""

from uuid import UUID

from sqlalchemy.orm import Session

from rhesis.backend.app.models import Test
from rhesis.backend.app.repositories import tests
from rhesis.backend.app.repositories.listing import ListParameters, Page
from rhesis.backend.app.schemas.tests import TestCreate, TestUpdate
from rhesis.backend.app.services.in_use import NAMED, refuse_if_used
from rhesis.backend.domain.actor import Actor
from rhesis.backend.errors import InputProblem, InvalidInput, NotFound
from rhesis.backend.metrics.registry import check_definitions
from rhesis.backend.settings import get_settings


def list_tests(db: Session, actor: Actor, parameters: ListParameters) -> Page[Test]:
    """Return a part of the organization's tests."""
    return tests.page_of_tests(db, actor.organization_id, parameters)


def get_test(db: Session, actor: Actor, test_id: UUID) -> Test:
    """Return a test of the actor's organization; raise `NotFound`."""
    return _found(tests.find(db, actor.organization_id, test_id), test_id)


def create_test(db: Session, actor: Actor, wanted: TestCreate) -> Test:
    """Add a test; raise `InvalidInput` for a prompt that is too long or a metric that cannot be used."""
    _check_size("prompt", wanted.prompt)
    _check_size("expected_response", wanted.expected_response)
    check_definitions(wanted.metrics)
    test = Test(organization_id=actor.organization_id, user_id=actor.id, **wanted.model_dump())
    db.add(test)
    db.flush()
    return test


def change_test(db: Session, actor: Actor, test_id: UUID, change: TestUpdate) -> Test:
    """Change a test; a run in progress goes on with the old words where it has read them already."""
    test = _found(tests.lock(db, actor.organization_id, test_id), test_id)
    actor.require_change(test.user_id, what="test", subject_id=test.id)
    changes = change.changes()
    for name in ("prompt", "expected_response"):
        _check_size(name, changes.get(name))
    check_definitions(changes.get("metrics", []))
    for name, value in changes.items():
        setattr(test, name, value)
    db.flush()
    db.refresh(test)
    return test


def delete_test(db: Session, actor: Actor, test_id: UUID) -> None:
    """Delete a test and its places in sets; raise `Conflict` while an open run owes a result for it."""
    test = _found(tests.lock(db, actor.organization_id, test_id), test_id)
    actor.require_change(test.user_id, what="test", subject_id=test.id)
    refuse_if_used(
        "test",
        test.id,
        tests.open_runs_with(db, actor.organization_id, test.id, limit=NAMED),
        by="open test run",
        advice="wait for its end or cancel it",
    )
    tests.remove(db, actor.organization_id, test.id)


def _found(test: Test | None, test_id: UUID) -> Test:
    if test is None:
        raise NotFound(f"test {test_id} is not there", subject_id=str(test_id))
    return test


def _check_size(name: str, text: str | None) -> None:
    limit = get_settings().prompt_max_bytes
    size = len((text or "").encode())
    if size > limit:
        message = f"{name} has {size} bytes, at most {limit} are accepted"
        raise InvalidInput(message, problems=(InputProblem(f"body.{name}", message),))
