"""Test runs: how far they are, what they came to, and how to stop or repeat them."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Body, Query, Response, status
from fastapi.responses import StreamingResponse

from rhesis.backend.app import models
from rhesis.backend.app.dependencies import CurrentActor, DatabaseSession, ListQueryParameters, set_total
from rhesis.backend.app.problems import PROBLEM_RESPONSES
from rhesis.backend.app.routers.downloads import download
from rhesis.backend.app.routers.submission import submit
from rhesis.backend.app.schemas.runs import (
    Cancellation,
    Execution,
    Progress,
    ResultFormat,
    Submitted,
    TestResult,
    TestRun,
)
from rhesis.backend.app.services import run_reports, runs
from rhesis.backend.app.services.export_pages import pages_of_results
from rhesis.backend.app.services.exporting import csv_of_results, junit_of_results

router = APIRouter(prefix="/test_runs", tags=["test runs"], responses=PROBLEM_RESPONSES)
results_router = APIRouter(prefix="/test_results", tags=["test results"], responses=PROBLEM_RESPONSES)


@router.get("", response_model=list[TestRun])
def list_runs(
    db: DatabaseSession, actor: CurrentActor, parameters: ListQueryParameters, response: Response
) -> tuple[models.TestRun, ...]:
    """List the organization's runs."""
    found = run_reports.list_runs(db, actor, parameters)
    set_total(response, found)
    return found.items


@router.get("/{test_run_id}", response_model=TestRun)
def get_run(test_run_id: UUID, db: DatabaseSession, actor: CurrentActor) -> models.TestRun:
    """Show a run."""
    return runs.get_run(db, actor, test_run_id)


@router.delete("/{test_run_id}", status_code=status.HTTP_204_NO_CONTENT)
def delete_run(test_run_id: UUID, db: DatabaseSession, actor: CurrentActor) -> None:
    """Delete a run that has ended, with its results."""
    run_reports.delete_run(db, actor, test_run_id)


@router.get("/{test_run_id}/progress")
def get_progress(test_run_id: UUID, db: DatabaseSession, actor: CurrentActor) -> Progress:
    """Show how far a run is."""
    return Progress.model_validate(runs.progress_of(db, actor, test_run_id))


@router.post("/{test_run_id}/cancel", response_model=TestRun)
def cancel_run(
    test_run_id: UUID,
    db: DatabaseSession,
    actor: CurrentActor,
    given: Annotated[Cancellation | None, Body()] = None,
) -> models.TestRun:
    """Cancel a run that is queued or in progress."""
    return runs.cancel_run(db, actor, test_run_id, reason=given.reason if given else None)


@router.post("/{test_run_id}/rerun", status_code=status.HTTP_202_ACCEPTED)
def rerun(
    test_run_id: UUID,
    actor: CurrentActor,
    response: Response,
    given: Annotated[Execution | None, Body()] = None,
) -> Submitted:
    """Run again those tests of an ended run that did not pass."""
    deadline = given.deadline_seconds if given else None
    return submit(actor, response, lambda db: runs.create_rerun(db, actor, test_run_id, deadline_seconds=deadline))


@router.get("/{test_run_id}/results", response_model=list[TestResult])
def get_results(
    test_run_id: UUID,
    db: DatabaseSession,
    actor: CurrentActor,
    parameters: ListQueryParameters,
    response: Response,
    *,
    result_format: Annotated[ResultFormat, Query(alias="format")] = ResultFormat.JSON,
    raw: Annotated[bool, Query(description="CSV exactly as stored, for machines.")] = False,
) -> tuple[models.TestResult, ...] | StreamingResponse:
    """Return a run's results: as JSON a page of the list, as CSV or JUnit XML all of them in the order of the tests."""
    summary = run_reports.summary_of(db, actor, test_run_id)
    if result_format is ResultFormat.JSON:
        found = run_reports.list_results(db, actor, test_run_id, parameters)
        set_total(response, found)
        return found.items
    pages = pages_of_results(actor, test_run_id, summary.total_tests)
    if result_format is ResultFormat.CSV:
        return download(csv_of_results(pages, raw=raw), "text/csv", f"test_run_{test_run_id}.csv")
    return download(junit_of_results(summary, pages), "application/xml", f"test_run_{test_run_id}.xml")


@results_router.get("", response_model=list[TestResult])
def list_results(
    db: DatabaseSession,
    actor: CurrentActor,
    parameters: ListQueryParameters,
    response: Response,
    test_run_id: UUID | None = None,
) -> tuple[models.TestResult, ...]:
    """List results, of one run or of all."""
    found = run_reports.list_results(db, actor, test_run_id, parameters)
    set_total(response, found)
    return found.items


@results_router.get("/{test_result_id}", response_model=TestResult)
def get_result(test_result_id: UUID, db: DatabaseSession, actor: CurrentActor) -> models.TestResult:
    """Show a result."""
    return run_reports.get_result(db, actor, test_result_id)
