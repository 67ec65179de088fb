"""The rules that choose a run's and a result's status, and how far a run is."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rhesis.backend.domain.closing import member_task_id
from rhesis.backend.domain.progress import RunCounts
from rhesis.backend.domain.run_status import ResultStatus, RunStatus, status_of_result, status_of_run
from rhesis.backend.tasks.enums import RunStatus as DocumentedRunStatus

NOW = datetime(2026, 1, 1, tzinfo=UTC)
COUNTS = RunCounts(
    test_run_id=uuid4(),
    status="Progress",
    total=10,
    passed=3,
    failed=1,
    errors=1,
    started_at=NOW - timedelta(seconds=10),
    completed_at=None,
    deadline=NOW + timedelta(hours=1),
    now=NOW,
    last_worker_seen_at=None,
)


@pytest.mark.parametrize(
    ("total", "errors", "expected"),
    [(5, 0, "Completed"), (5, 1, "Partial"), (5, 4, "Partial"), (5, 5, "Failed"), (0, 0, "Failed")],
)
def test_a_runs_status_follows_from_its_errors_alone(total, errors, expected):
    assert status_of_run(total=total, errors=errors) == expected


def test_the_documents_find_the_run_status_where_they_look_for_it():
    assert DocumentedRunStatus is RunStatus
    assert [status.value for status in RunStatus] == [
        "Queued",
        "Progress",
        "Completed",
        "Partial",
        "Failed",
        "Cancelled",
    ]


def test_in_progress_is_never_a_stored_word():
    assert "IN_PROGRESS" not in {status.value for status in RunStatus}


@given(st.lists(st.booleans()))
def test_a_result_passes_only_if_every_metric_held_and_there_is_one(verdicts):
    expected = ResultStatus.ERROR if not verdicts else ResultStatus.PASS if all(verdicts) else ResultStatus.FAIL
    assert status_of_result(call_failed=False, metric_verdicts=verdicts) is expected
    assert status_of_result(call_failed=True, metric_verdicts=verdicts) is ResultStatus.ERROR


def test_progress_counts_percent_rate_and_remaining_time():
    assert (COUNTS.completed, COUNTS.percent, COUNTS.rate_per_second, COUNTS.eta_seconds) == (5, 50.0, 0.5, 10.0)


def test_a_run_without_a_result_yet_has_neither_rate_nor_remaining_time():
    fresh = replace(COUNTS, passed=0, failed=0, errors=0)
    assert (fresh.rate_per_second, fresh.eta_seconds) == (None, None)


def test_an_ended_run_has_no_remaining_time_and_is_never_late():
    ended = replace(COUNTS, status="Partial", completed_at=NOW, deadline=NOW - timedelta(seconds=1))
    assert ended.eta_seconds is None
    assert not ended.late


def test_an_open_run_is_late_only_after_its_deadline():
    assert not COUNTS.late
    assert replace(COUNTS, deadline=NOW - timedelta(microseconds=1)).late


def test_the_task_id_of_a_member_follows_from_run_and_test():
    run_id, test_id = UUID(int=1), UUID(int=2)
    assert member_task_id(run_id, test_id) == member_task_id(run_id, test_id)
    assert member_task_id(run_id, test_id) != member_task_id(UUID(int=3), test_id)
    assert member_task_id(run_id, test_id) != member_task_id(run_id, UUID(int=3))
