"""Test sets: named lists of tests, filled one by one or from a file."""

from functools import partial
from typing import Annotated, Final
from uuid import UUID

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Query, Request, Response, status
from fastapi.responses import StreamingResponse

from rhesis.backend.app import models
from rhesis.backend.app.dependencies import CurrentActor, DatabaseSession, ListQueryParameters, set_total
from rhesis.backend.app.problems import PROBLEM_RESPONSES
from rhesis.backend.app.routers.downloads import download
from rhesis.backend.app.routers.uploads import ACCEPTED_BODIES, arriving_body, arriving_rows
from rhesis.backend.app.schemas.test_sets import (
    ImportedTestSet,
    ImportQuery,
    Members,
    MembersAdded,
    TestSet,
    TestSetCreate,
    TestSetUpdate,
    Window,
)
from rhesis.backend.app.schemas.tests import Test
from rhesis.backend.app.services import test_sets
from rhesis.backend.app.services.export_pages import pages_of_tests
from rhesis.backend.app.services.exporting import ExportFormat, csv_of_tests, jsonl_of_tests
from rhesis.backend.app.services.set_imports import import_limits, import_test_set
from rhesis.backend.domain.actor import Actor

router = APIRouter(prefix="/test_sets", tags=["test sets"], responses=PROBLEM_RESPONSES)

# An upload holds its thread as long as the caller takes to send it; other requests must not wait for that.
_IMPORTS: Final = CapacityLimiter(8)


@router.get("", response_model=list[TestSet])
def list_test_sets(
    db: DatabaseSession, actor: CurrentActor, parameters: ListQueryParameters, response: Response
) -> tuple[models.TestSet, ...]:
    """List the sets of the organization that the caller may see."""
    found = test_sets.list_test_sets(db, actor, parameters)
    set_total(response, found)
    return found.items


@router.post("", response_model=TestSet, status_code=status.HTTP_201_CREATED)
def create_test_set(given: TestSetCreate, db: DatabaseSession, actor: CurrentActor) -> models.TestSet:
    """Add an empty set."""
    return test_sets.create_test_set(db, actor, given)


@router.post("/import", status_code=status.HTTP_201_CREATED, openapi_extra={"requestBody": ACCEPTED_BODIES})
async def import_file(request: Request, actor: CurrentActor, given: Annotated[ImportQuery, Query()]) -> ImportedTestSet:
    """Add a set with the tests of a CSV or JSONL file: all of them, or none and a list of what is wrong."""
    return await to_thread.run_sync(partial(_import, request, actor, given), limiter=_IMPORTS)


@router.get("/{test_set_id}", response_model=TestSet)
def get_test_set(test_set_id: UUID, db: DatabaseSession, actor: CurrentActor) -> models.TestSet:
    """Show a set."""
    return test_sets.get_test_set(db, actor, test_set_id)


@router.patch("/{test_set_id}", response_model=TestSet)
def update_test_set(
    test_set_id: UUID, given: TestSetUpdate, db: DatabaseSession, actor: CurrentActor
) -> models.TestSet:
    """Change a set."""
    return test_sets.change_test_set(db, actor, test_set_id, given)


@router.delete("/{test_set_id}", status_code=status.HTTP_204_NO_CONTENT)
def delete_test_set(test_set_id: UUID, db: DatabaseSession, actor: CurrentActor) -> None:
    """Delete a set that no configuration uses. Its tests stay."""
    test_sets.delete_test_set(db, actor, test_set_id)


@router.get("/{test_set_id}/tests", response_model=list[Test])
def list_members(
    test_set_id: UUID,
    db: DatabaseSession,
    actor: CurrentActor,
    parameters: Annotated[Window, Query()],
    response: Response,
) -> tuple[models.Test, ...]:
    """List a set's tests in its order."""
    found = test_sets.list_members(db, actor, test_set_id, skip=parameters.skip, limit=parameters.limit)
    set_total(response, found)
    return found.items


@router.post("/{test_set_id}/tests")
def add_members(test_set_id: UUID, given: Members, db: DatabaseSession, actor: CurrentActor) -> MembersAdded:
    """Put tests at a set's end."""
    return MembersAdded(added=test_sets.add_members(db, actor, test_set_id, given.test_ids))


@router.delete("/{test_set_id}/tests/{test_id}", status_code=status.HTTP_204_NO_CONTENT)
def remove_member(test_set_id: UUID, test_id: UUID, db: DatabaseSession, actor: CurrentActor) -> None:
    """Take a test out of a set. The test itself stays."""
    test_sets.remove_member(db, actor, test_set_id, test_id)


@router.get("/{test_set_id}/export", response_class=StreamingResponse)
def export_test_set(
    test_set_id: UUID,
    db: DatabaseSession,
    actor: CurrentActor,
    *,
    export_format: Annotated[ExportFormat, Query(alias="format")] = ExportFormat.CSV,
    raw: Annotated[bool, Query(description="CSV exactly as stored, to be imported again.")] = False,
) -> StreamingResponse:
    """Download a set's tests as a file that can be imported again.

    In CSV, cells that a spreadsheet would run as a formula get an apostrophe in front, unless `raw`.
    """
    test_set = test_sets.get_test_set(db, actor, test_set_id)
    pages = pages_of_tests(actor, test_set.id)
    file_name = f"test_set_{test_set.id}.{export_format}"
    if export_format is ExportFormat.JSONL:
        return download(jsonl_of_tests(pages), "application/x-ndjson", file_name)
    return download(csv_of_tests(pages, raw=raw), "text/csv", file_name)


def _import(request: Request, actor: Actor, given: ImportQuery) -> ImportedTestSet:
    rows = arriving_rows(request.headers.get("content-type", ""), arriving_body(request), import_limits())
    made = import_test_set(actor, TestSetCreate(**given.model_dump()), rows)
    return ImportedTestSet(test_set=TestSet.model_validate(made.test_set), tests=made.tests, notes=list(made.notes))
