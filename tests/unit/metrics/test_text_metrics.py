"""What the metrics that read text and time say about an answer."""

import time
from typing import Any

import pytest

from rhesis.backend.metrics.definitions import MetricContext
from rhesis.backend.metrics.evaluate import evaluate_all


def _context(output: str, *, expected: str | None = None, latency_seconds: float = 0.1) -> MetricContext:
    return MetricContext("Hello?", output, {"output": output}, expected, latency_seconds, 200)


def _one(definition: Any, output: str, **known: Any) -> dict[str, Any]:
    (result,) = evaluate_all([definition], _context(output, **known)).values()
    return result


def test_contains_takes_the_expected_response_when_no_value_is_given() -> None:
    assert _one("contains", "You have 14 days.", expected="14 days")["is_successful"] is True
    assert _one("contains", "You have 30 days.", expected="14 days")["is_successful"] is False


def test_contains_without_value_and_without_expected_response_is_an_error_that_says_what_to_do() -> None:
    result = _one("contains", "anything")
    assert result["is_successful"] is False
    assert "expected_response" in result["error"]


def test_contains_wants_every_one_of_several_values() -> None:
    definition = {"name": "contains", "parameters": {"values": ["blue", "red"]}}
    assert _one(definition, "red and blue")["is_successful"] is True
    result = _one(definition, "only red")
    assert result["is_successful"] is False
    assert result["reason"] == "The answer does not contain 'blue'."


def test_contains_ignores_case_only_when_told() -> None:
    assert _one({"name": "contains", "parameters": {"value": "PARIS"}}, "Paris")["is_successful"] is False
    loose = {"name": "contains", "parameters": {"value": "STRASSE", "case_sensitive": False}}
    assert _one(loose, "Hauptstraße")["is_successful"] is True


def test_not_contains_fails_on_any_forbidden_value_and_names_it() -> None:
    definition = {"name": "not_contains", "parameters": {"values": ["IBAN", "password"]}}
    assert _one(definition, "Ask your branch.")["is_successful"] is True
    result = _one(definition, "Your password is 1234.")
    assert result["is_successful"] is False
    assert "'password'" in result["reason"]


def test_equals_ignores_surrounding_space_unless_told_to_keep_it() -> None:
    assert _one("equals", " yes\n", expected="yes")["is_successful"] is True
    strict = {"name": "equals", "parameters": {"value": "yes", "strip": False}}
    assert _one(strict, " yes\n")["is_successful"] is False


def test_equals_does_not_repeat_a_long_answer_in_its_reason() -> None:
    assert len(_one("equals", "x" * 1_000_000, expected="y")["reason"]) < 400


def test_regex_searches_anywhere_and_matches_the_whole_answer_only_when_told() -> None:
    somewhere = {"name": "regex", "parameters": {"pattern": r"\d+ days"}}
    whole = {"name": "regex", "parameters": {"pattern": r"\d+ days", "full_match": True}}
    assert _one(somewhere, "within 14 days.")["is_successful"] is True
    assert _one(whole, "within 14 days.")["is_successful"] is False
    assert _one(whole, "14 days")["is_successful"] is True


def test_regex_that_backtracks_for_ever_elsewhere_ends_at_once_here() -> None:
    started = time.monotonic()
    result = _one({"name": "regex", "parameters": {"pattern": "(a+)+$"}}, "a" * 5_000_000 + "!")
    assert result["is_successful"] is False
    assert time.monotonic() - started < 5


def test_regex_judges_an_answer_with_a_lone_surrogate_as_it_will_be_stored() -> None:
    assert _one({"name": "regex", "parameters": {"pattern": "^.ok$"}}, "\ud800ok")["is_successful"] is True


@pytest.mark.parametrize(
    ("latency_seconds", "passes"), [(0.5, True), (2.0, True), (2.001, False), (float("nan"), False)]
)
def test_max_latency_allows_up_to_its_seconds_and_never_an_unknown_time(
    latency_seconds: float, *, passes: bool
) -> None:
    definition = {"name": "max_latency", "parameters": {"seconds": 2}}
    assert _one(definition, "", latency_seconds=latency_seconds)["is_successful"] is passes


def test_an_inverted_operator_inverts_a_binary_metric() -> None:
    definition = {"name": "contains", "parameters": {"value": "sorry"}, "threshold_operator": "<"}
    assert _one(definition, "Gladly.")["is_successful"] is True
    assert _one(definition, "I am sorry.")["is_successful"] is False


def test_ten_megabytes_are_judged_by_fifty_metrics_in_seconds() -> None:
    definitions = [{"name": "contains", "parameters": {"value": f"absent {index}"}} for index in range(50)]
    started = time.monotonic()
    results = evaluate_all(definitions, _context("lorem ipsum " * 873_813))
    assert len(results) == 50
    assert not any(result["is_successful"] for result in results.values())
    assert time.monotonic() - started < 10


def test_what_is_looked_for_and_the_answer_are_cleaned_alike() -> None:
    assert _one({"name": "contains", "parameters": {"value": "a\x00b"}}, "xa\x00bx")["is_successful"] is True
    assert _one({"name": "contains", "parameters": {"value": "a\ufffdb"}}, "xa\ud800bx")["is_successful"] is True
    assert _one("equals", "\x00", expected="\ud800")["is_successful"] is True
