"""What may be done with test sets and the tests in them."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from rhesis.backend.app.models import Test, TestSet
from rhesis.backend.app.repositories import test_sets, tests
from rhesis.backend.app.repositories.listing import ListParameters, Page
from rhesis.backend.app.schemas.test_sets import TestSetCreate, TestSetUpdate, Visibility
from rhesis.backend.app.services.in_use import NAMED, refuse_if_used
from rhesis.backend.app.services.slugs import slug_candidates
from rhesis.backend.domain.actor import Actor
from rhesis.backend.errors import Conflict, Forbidden, InputProblem, InvalidInput, NotFound
from rhesis.backend.metrics.registry import check_definitions

_SLUG_CONSTRAINT = "test_set_slug_key"


def list_test_sets(db: Session, actor: Actor, parameters: ListParameters) -> Page[TestSet]:
    """Return a part of the sets that the actor may see."""
    return test_sets.page_of_sets(db, actor.organization_id, parameters)


def get_test_set(db: Session, actor: Actor, test_set_id: UUID) -> TestSet:
    """Return a set that the actor may see; raise `NotFound`."""
    return _found(test_sets.find(db, actor.organization_id, test_set_id), test_set_id)


def create_test_set(db: Session, actor: Actor, wanted: TestSetCreate) -> TestSet:
    """Add a set under a slug made from its name."""
    check_definitions(wanted.metrics)
    for slug in slug_candidates(wanted.name):
        test_set = TestSet(
            organization_id=actor.organization_id, user_id=actor.id, slug=slug, **wanted.model_dump(mode="json")
        )
        try:
            with db.begin_nested():
                db.add(test_set)
        except IntegrityError as error:
            if _constraint_of(error) != _SLUG_CONSTRAINT:
                raise
        else:
            return test_set
    raise Conflict(f"no slug is free for the name {wanted.name!r}: choose another name", code="slug_taken")


def change_test_set(db: Session, actor: Actor, test_set_id: UUID, change: TestSetUpdate) -> TestSet:
    """Change a set; only its owner may hide it, for nobody else would see it afterwards."""
    test_set = _changeable(db, actor, test_set_id)
    changes = change.changes()
    check_definitions(changes.get("metrics", []))
    if changes.get("visibility") is Visibility.USER and actor.id != test_set.user_id:
        raise Forbidden(f"only its owner may hide test set {test_set.id}", subject_id=str(test_set.id))
    for name, value in changes.items():
        setattr(test_set, name, value)
    db.flush()
    db.refresh(test_set)
    return test_set


def delete_test_set(db: Session, actor: Actor, test_set_id: UUID) -> None:
    """Delete a set, not its tests; raise `Conflict` while a configuration uses it."""
    test_set = _changeable(db, actor, test_set_id)
    refuse_if_used(
        "test set",
        test_set.id,
        test_sets.configurations_of(db, actor.organization_id, test_set.id, limit=NAMED),
        by="test configuration",
        advice="delete that first, or give it another set",
    )
    test_sets.remove(db, actor.organization_id, test_set.id)


def list_members(db: Session, actor: Actor, test_set_id: UUID, *, skip: int, limit: int) -> Page[Test]:
    """Return a part of a set's tests in its order."""
    test_set = get_test_set(db, actor, test_set_id)
    return test_sets.members(db, actor.organization_id, test_set.id, skip=skip, limit=limit)


def add_members(db: Session, actor: Actor, test_set_id: UUID, test_ids: Sequence[UUID]) -> int:
    """Put tests at a set's end and return how many were new to it; raise `InvalidInput` for ids that are no tests."""
    test_set = _changeable(db, actor, test_set_id)
    unique = list(dict.fromkeys(test_ids))
    known = tests.existing(db, actor.organization_id, unique)
    unknown = [test_id for test_id in unique if test_id not in known]
    if unknown:
        raise InvalidInput(
            f"test_ids holds {len(unknown)} ids of no test of this organization, the first is {unknown[0]}",
            code="unknown_reference",
            problems=tuple(InputProblem("body.test_ids", f"no test {test_id}") for test_id in unknown[:NAMED]),
        )
    end = test_sets.end_of(db, actor.organization_id, test_set.id)
    return test_sets.add_members(db, actor.organization_id, test_set.id, unique, first=end)


def remove_member(db: Session, actor: Actor, test_set_id: UUID, test_id: UUID) -> None:
    """Take a test out of a set; the test itself stays."""
    test_set = _changeable(db, actor, test_set_id)
    if not test_sets.remove_member(db, actor.organization_id, test_set.id, test_id):
        raise NotFound(f"test {test_id} is not in test set {test_set.id}", subject_id=str(test_id))


def _changeable(db: Session, actor: Actor, test_set_id: UUID) -> TestSet:
    test_set = _found(test_sets.lock(db, actor.organization_id, test_set_id), test_set_id)
    actor.require_change(test_set.user_id, what="test set", subject_id=test_set.id)
    return test_set


def _found(test_set: TestSet | None, test_set_id: UUID) -> TestSet:
    if test_set is None:
        raise NotFound(f"test set {test_set_id} is not there", subject_id=str(test_set_id))
    return test_set


def _constraint_of(error: IntegrityError) -> str | None:
    return getattr(getattr(error.orig, "diag", None), "constraint_name", None)
