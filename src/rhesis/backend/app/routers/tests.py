"""Tests: a prompt each, and how its answer is judged."""

from uuid import UUID

from fastapi import APIRouter, Response, status

from rhesis.backend.app import models
from rhesis.backend.app.dependencies import CurrentActor, DatabaseSession, ListQueryParameters, set_total
from rhesis.backend.app.problems import PROBLEM_RESPONSES
from rhesis.backend.app.schemas.tests import Test, TestCreate, TestUpdate
from rhesis.backend.app.services import tests

router = APIRouter(prefix="/tests", tags=["tests"], responses=PROBLEM_RESPONSES)


@router.get("", response_model=list[Test])
def list_tests(
    db: DatabaseSession, actor: CurrentActor, parameters: ListQueryParameters, response: Response
) -> tuple[models.Test, ...]:
    """List the organization's tests."""
    found = tests.list_tests(db, actor, parameters)
    set_total(response, found)
    return found.items


@router.post("", response_model=Test, status_code=status.HTTP_201_CREATED)
def create_test(given: TestCreate, db: DatabaseSession, actor: CurrentActor) -> models.Test:
    """Add a test."""
    return tests.create_test(db, actor, given)


@router.get("/{test_id}", response_model=Test)
def get_test(test_id: UUID, db: DatabaseSession, actor: CurrentActor) -> models.Test:
    """Show a test."""
    return tests.get_test(db, actor, test_id)


@router.patch("/{test_id}", response_model=Test)
def update_test(test_id: UUID, given: TestUpdate, db: DatabaseSession, actor: CurrentActor) -> models.Test:
    """Change a test."""
    return tests.change_test(db, actor, test_id, given)


@router.delete("/{test_id}", status_code=status.HTTP_204_NO_CONTENT)
def delete_test(test_id: UUID, db: DatabaseSession, actor: CurrentActor) -> None:
    """Delete a test and its places in sets, unless a run that goes on owes a result for it."""
    tests.delete_test(db, actor, test_id)
