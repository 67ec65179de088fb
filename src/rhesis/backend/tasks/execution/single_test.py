"""Run one test: load, call, judge, store. No database connection is held while the endpoint is waited for."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any
from uuid import UUID

from celery.utils.log import get_task_logger

from rhesis.backend.app.database import tenant_session
from rhesis.backend.app.models import Test, TestResult
from rhesis.backend.app.repositories import results, runs
from rhesis.backend.app.services.endpoints import to_spec
from rhesis.backend.domain.run_status import ResultStatus, status_of_result
from rhesis.backend.domain.text import clean_json
from rhesis.backend.errors import RhesisError, TenantMismatch
from rhesis.backend.metrics.definitions import MetricContext
from rhesis.backend.metrics.evaluate import evaluate_all
from rhesis.backend.outgoing.addresses import AddressPolicy
from rhesis.backend.outgoing.answer import Answer, CallError
from rhesis.backend.outgoing.call import CallLimits, call_endpoint
from rhesis.backend.outgoing.client import NetworkLimits
from rhesis.backend.outgoing.endpoint import EndpointSpec
from rhesis.backend.outgoing.retrying import Pacing
from rhesis.backend.settings import Settings, get_settings
from rhesis.backend.tasks.context import TaskContext
from rhesis.backend.tasks.execution.patience import AWAY, patiently

logger = get_task_logger(__name__)

# How often a test that waits for its next attempt asks whether its run still wants it.
_RUN_CHECK_SECONDS = 2.0
# A worker's threads bound its calls, and `-c` may set more of them than the settings know: none waits for a connection.
_MORE_THAN_THREADS = 10_000
_NOT_JUDGED: dict[str, Any] = {"execution_time": 0, "metrics": {}}


@dataclass(frozen=True)
class SingleTestOutcome:
    """What a member reports: no prompt, no answer. `metrics` is name to verdict."""

    test_id: UUID
    status: str
    execution_time_ms: float
    metrics: dict[str, bool] = field(default_factory=dict)
    run_ended: bool = False


@dataclass(frozen=True)
class _Plan:
    """Everything a test needs, read in one transaction."""

    test: Test
    spec: EndpointSpec
    metrics: list[Any]


def run_single_test(context: TaskContext, *, run_id: UUID, test_id: UUID) -> SingleTestOutcome:
    """Run a test of an open run, once: a test that has a result returns that result.

    Raises `TenantMismatch` when the message's organization does not own the run.
    """
    organization_id = _organization(context)
    found = patiently(
        lambda: _load(organization_id, context.user_id, run_id=run_id, test_id=test_id), what=f"load test {test_id}"
    )
    if isinstance(found, SingleTestOutcome):
        return found
    started = time.monotonic()
    outcome = _execute(found, stop=_run_watch(organization_id, context.user_id, run_id))
    if isinstance(found, _Plan):
        elapsed = (time.monotonic() - started) * 1000
        outcome = _with_time(outcome, elapsed)
    return patiently(
        lambda: _store(context, organization_id, run_id, outcome), what=f"store the result of test {test_id}"
    )


def record_failure(context: TaskContext, *, run_id: UUID, test_id: UUID, reason: str) -> None:
    """Write the Error row of a test that could not be run, as well as the database allows."""
    outcome = _error(test_id, "unexpected_error", reason)
    try:
        _store(context, _organization(context), run_id, outcome)
    except Exception as error:  # noqa: BLE001 - the reaper writes the row when it closes the run
        name = type(error).__name__
        logger.error("the failure of test %s of run %s could not be stored (%s)", test_id, run_id, name)  # noqa: TRY400


def _organization(context: TaskContext) -> UUID:
    if context.organization_id is None:
        raise TenantMismatch("tenant mismatch: the message names no organization")
    return UUID(context.organization_id)


def _load(
    organization_id: UUID, user_id: str | None, *, run_id: UUID, test_id: UUID
) -> "_Plan | SingleTestOutcome | results.Outcome":
    with tenant_session(organization_id, user_id) as db:
        stored = results.find_result(db, organization_id, run_id, test_id)
        if stored is not None:
            return _reported(stored)
        run = runs.find_run(db, organization_id, run_id)
        if run is None:
            raise TenantMismatch(f"tenant mismatch: run {run_id} is not organization {organization_id}'s")
        if run.status not in runs.OPEN:
            return SingleTestOutcome(test_id, run.status, 0.0, run_ended=True)
        test = results.find_test(db, organization_id, test_id)
        plan = results.execution_plan(db, organization_id, run_id)
        if test is None or plan is None:
            return _error(test_id, "unexpected_error", f"test {test_id} or what it needs has been deleted")
        configuration, test_set, endpoint = plan
        try:
            spec = to_spec(endpoint)
        except RhesisError as error:
            return _error(test_id, error.code, str(error))
        metrics = test.metrics or test_set.metrics or configuration.metrics
        db.expunge_all()
    return _Plan(test, spec, list(metrics))


def _execute(found: "_Plan | results.Outcome", *, stop: Callable[[], bool]) -> results.Outcome:
    if isinstance(found, results.Outcome):
        return found
    test = found.test
    about = {"id": str(test.id), "language_code": test.language_code, "behaviour": test.behaviour}
    limits = _call_limits(get_settings())
    answer = call_endpoint(found.spec, prompt=test.prompt, test=about, limits=limits, pacing=Pacing(stop=stop))
    if isinstance(answer, CallError):
        return _failed_call(test.id, answer)
    return _judged(found, answer)


@cache
def _call_limits(settings: Settings) -> CallLimits:
    """Return the limits of every call of this process; equal network limits share one client."""
    return CallLimits(
        total_seconds=settings.test_timeout_seconds,
        response_max_bytes=settings.response_max_bytes,
        network=NetworkLimits(
            policy=AddressPolicy(settings.allowed_networks),
            max_connections=_MORE_THAN_THREADS,
            max_idle_connections=settings.execution_concurrency,
        ),
    )


def _failed_call(test_id: UUID, error: CallError) -> results.Outcome:
    output, _ = clean_json(error.as_dict())
    return results.Outcome(test_id, ResultStatus.ERROR, error.error_type.value, 0.0, output, dict(_NOT_JUDGED))


def _judged(plan: _Plan, answer: Answer) -> results.Outcome:
    metrics = evaluate_all(
        plan.metrics,
        MetricContext(
            prompt=plan.test.prompt,
            output=answer.output,
            mapped=answer.mapped,
            expected_response=plan.test.expected_response,
            latency_seconds=answer.latency_seconds,
            status_code=answer.status_code,
        ),
    )
    verdicts = [bool(metric["is_successful"]) for metric in metrics.values()]
    status = status_of_result(call_failed=False, metric_verdicts=verdicts)
    latency = answer.latency_seconds * 1000
    output, _ = clean_json(
        {
            "output": answer.output,
            "mapped": dict(answer.mapped),
            "status_code": answer.status_code,
            "attempts": answer.attempts,
            "notes": list(answer.notes),
        }
    )
    judged, _ = clean_json({"execution_time": latency, "metrics": metrics})
    return results.Outcome(plan.test.id, status, None if verdicts else "no_metric", latency, output, judged)


def _error(test_id: UUID, error_type: str, message: str) -> results.Outcome:
    output, _ = clean_json({"error": True, "error_type": error_type, "message": message})
    return results.Outcome(test_id, ResultStatus.ERROR, error_type, 0.0, output, dict(_NOT_JUDGED))


def _with_time(outcome: results.Outcome, elapsed_ms: float) -> results.Outcome:
    """Give an Error the time it took; a judged answer keeps its latency."""
    if outcome.status is not ResultStatus.ERROR:
        return outcome
    timed = {**outcome.test_metrics, "execution_time": elapsed_ms}
    return replace(outcome, execution_time_ms=elapsed_ms, test_metrics=timed)


def _store(context: TaskContext, organization_id: UUID, run_id: UUID, outcome: results.Outcome) -> SingleTestOutcome:
    with tenant_session(organization_id, context.user_id) as db:
        if not results.add(db, organization_id, run_id, outcome):
            stored = results.find_result(db, organization_id, run_id, outcome.test_id)
            if stored is not None:
                return _reported(stored)
            return SingleTestOutcome(outcome.test_id, "Cancelled", 0.0, run_ended=True)
    verdicts = {name: bool(metric["is_successful"]) for name, metric in outcome.test_metrics["metrics"].items()}
    return SingleTestOutcome(outcome.test_id, outcome.status.value, outcome.execution_time_ms, verdicts)


def _reported(stored: TestResult) -> SingleTestOutcome:
    metrics = (stored.test_metrics or {}).get("metrics", {})
    verdicts = {name: bool(metric.get("is_successful")) for name, metric in metrics.items()}
    return SingleTestOutcome(stored.test_id, stored.status, stored.execution_time_ms, verdicts)


def _run_watch(organization_id: UUID, user_id: str | None, run_id: UUID) -> Callable[[], bool]:
    """Return a function that says whether the run has ended, asking the database at most every two seconds.

    A database that does not answer has not ended the run: the call goes on, and its result is stored patiently.
    """
    asked_at = time.monotonic()

    def ended() -> bool:
        nonlocal asked_at
        if time.monotonic() - asked_at < _RUN_CHECK_SECONDS:
            return False
        asked_at = time.monotonic()
        try:
            with tenant_session(organization_id, user_id) as db:
                return not runs.is_open(db, organization_id, run_id)
        except AWAY:
            return False

    return ended
