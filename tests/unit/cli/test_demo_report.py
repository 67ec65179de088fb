"""The figures that the demo prints."""

import json

from rhesis.backend.cli.demo_report import Latency, not_passed, slowest, summary
from rhesis.backend.cli.remote import reason_of

COUNTS = {"status": "Partial", "total": 3, "passed": 1, "failed": 1, "errors": 1}


def row(status: str = "Pass", milliseconds: float = 1.0, **values: str) -> dict[str, str]:
    empty = {"error_type": "", "error": "", "metrics": "", "prompt": "a question"}
    return {**empty, "status": status, "execution_time_ms": str(milliseconds), **values}


def test_p95_is_the_time_within_which_95_of_100_were_done():
    assert Latency.of([row(milliseconds=number) for number in range(1, 101)]) == Latency(50.5, 95.0)
    assert Latency.of([row(milliseconds=7)]) == Latency(7.0, 7.0)
    assert Latency.of([]) == Latency(0.0, 0.0)


def test_the_summary_counts_each_kind_of_result():
    [values] = summary(COUNTS, [row(milliseconds=10)], 12.5).rows
    assert values == ("Partial", 3, 1, 1, 1, 10.0, 10.0, 12.5)


def test_the_slowest_five_come_slowest_first():
    found = slowest([row(milliseconds=number) for number in range(10)])
    assert [values[0] for values in found.rows] == [9.0, 8.0, 7.0, 6.0, 5.0]


def test_what_did_not_pass_is_listed_with_its_reason_and_its_number():
    metrics = {"contains": {"is_successful": False, "reason": "no 'x'"}, "latency": {"is_successful": True}}
    rows = [row(), row("Fail", metrics=json.dumps(metrics)), row("Error", error_type="http_error", error="500")]
    table = not_passed(rows)
    assert table.columns[0] == "2 of 2"
    assert [values[2] for values in table.rows] == ["contains: no 'x'", "http_error: 500"]


def test_the_reason_of_a_metric_that_could_not_judge_is_its_error():
    metrics = {"a": {"is_successful": False, "error": "broken"}, "b": {"is_successful": False}}
    assert reason_of(row("Fail", metrics=json.dumps(metrics))) == "a: broken; b: not met"
