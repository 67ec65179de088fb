"""What may be seen of runs and results, and how a run is deleted."""

from uuid import UUID

from sqlalchemy.orm import Session

from rhesis.backend.app.models import TestConfiguration, TestResult, TestRun
from rhesis.backend.app.repositories import run_reports
from rhesis.backend.app.repositories.listing import ListParameters, Page
from rhesis.backend.app.repositories.run_reports import RunSummary
from rhesis.backend.domain.actor import Actor
from rhesis.backend.domain.run_status import OPEN_STATUSES
from rhesis.backend.errors import Conflict, NotFound


def list_runs(db: Session, actor: Actor, parameters: ListParameters) -> Page[TestRun]:
    """Return a part of the organization's runs."""
    return run_reports.page_of_runs(db, actor.organization_id, parameters)


def list_results(db: Session, actor: Actor, run_id: UUID | None, parameters: ListParameters) -> Page[TestResult]:
    """Return a part of the organization's results, or of one run's."""
    return run_reports.page_of_results(db, actor.organization_id, run_id, parameters)


def get_result(db: Session, actor: Actor, result_id: UUID) -> TestResult:
    """Return a result of the actor's organization; raise `NotFound`."""
    result = run_reports.find_result(db, actor.organization_id, result_id)
    if result is None:
        raise NotFound(f"test result {result_id} is not there", subject_id=str(result_id))
    return result


def configuration_of(db: Session, actor: Actor, run: TestRun) -> TestConfiguration:
    """Return the configuration that a run executes; it exists as long as the run does."""
    return run_reports.configuration_of(db, actor.organization_id, run)


def summary_of(db: Session, actor: Actor, run_id: UUID) -> RunSummary:
    """Return what a report's head says about a run; raise `NotFound`."""
    found = run_reports.summary(db, actor.organization_id, run_id)
    if found is None:
        raise _not_there(run_id)
    return found


def delete_run(db: Session, actor: Actor, run_id: UUID) -> None:
    """Delete a run that has ended, with its results; raise `Conflict` while it is open."""
    run = run_reports.lock_run(db, actor.organization_id, run_id)
    if run is None:
        raise _not_there(run_id)
    actor.require_change(run.user_id, what="test run", subject_id=run.id)
    if run.status in OPEN_STATUSES:
        raise Conflict(
            f"test run {run.id} is {run.status}: cancel it or wait for its end, then delete it",
            code="still_open",
            subject_id=str(run.id),
        )
    run_reports.remove_run(db, actor.organization_id, run.id)


def _not_there(run_id: UUID) -> NotFound:
    return NotFound(f"test run {run_id} is not there", subject_id=str(run_id))
