"""Definitions are checked strictly when saved and built leniently when run; other packages may add metrics."""

import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rhesis.backend.errors import InvalidInput
from rhesis.backend.metrics.definitions import MetricContext
from rhesis.backend.metrics.evaluate import evaluate_all
from rhesis.backend.metrics.registry import MAX_METRICS, build_metrics, check_definitions, known_metrics

_CONTEXT = MetricContext("Hello?", "fine, thanks", {"output": "fine, thanks"}, "fine", 0.25, 200)


def _problems(definitions: Any) -> dict[str, str]:
    with pytest.raises(InvalidInput) as caught:
        check_definitions(definitions)
    assert caught.value.code == "invalid_metric"
    return {problem.where: problem.message for problem in caught.value.problems}


def test_a_correct_list_in_short_and_long_form_is_accepted() -> None:
    check_definitions(
        [
            "contains",
            "equals",
            {
                "name": "jsonpath",
                "label": "confidence",
                "description": "How sure the assistant is.",
                "parameters": {"path": "$.confidence"},
                "class_name": "JsonPath",
                "backend": "rhesis",
                "score_type": "numeric",
                "min_score": 0,
                "max_score": 1,
                "threshold": 0.8,
                "threshold_operator": ">",
                "ground_truth_required": True,
                "context_required": False,
            },
        ]
    )
    check_definitions([])


def test_an_unknown_metric_is_refused_with_the_names_that_exist() -> None:
    problems = _problems(["contians"])
    assert problems.keys() == {"metrics[0].name"}
    for name in ("contains", "not_contains", "equals", "regex", "json_schema", "jsonpath", "max_latency"):
        assert name in problems["metrics[0].name"]


def test_every_problem_of_every_definition_is_reported_with_its_place() -> None:
    problems = _problems(
        [
            {"name": "regex", "parameters": {"pattern": "(?=a)", "flags": "i"}},
            {"name": "max_latency", "parameters": {"seconds": "2"}},
            "equals",
            {"name": "contains", "threshold": float("nan"), "treshold": 1},
        ]
    )
    assert "look-around" in problems["metrics[0].parameters.pattern"]
    assert "case_sensitive, full_match, pattern" in problems["metrics[0].parameters.flags"]
    assert "number" in problems["metrics[1].parameters.seconds"]
    assert "finite number" in problems["metrics[3].threshold"]
    assert "threshold_operator" in problems["metrics[3].treshold"]
    assert not any(where.startswith("metrics[2]") for where in problems)


@pytest.mark.parametrize(
    ("definition", "where"),
    [
        (17, "name"),
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": "contains", "parameters": []}, "parameters"),
        ({"name": "contains", "parameters": {"value": ""}}, "parameters.value"),
        ({"name": "contains", "parameters": {"value": 1}}, "parameters.value"),
        ({"name": "contains", "parameters": {"values": []}}, "parameters.values"),
        ({"name": "contains", "parameters": {"values": ["a"] * 21}}, "parameters.values"),
        ({"name": "contains", "parameters": {"values": ["a", None]}}, "parameters.values[1]"),
        ({"name": "contains", "parameters": {"value": "a", "values": ["b"]}}, "parameters.values"),
        ({"name": "contains", "parameters": {"value": "a", "case_sensitive": 1}}, "parameters.case_sensitive"),
        ("not_contains", "parameters.value"),
        ("regex", "parameters.pattern"),
        ({"name": "regex", "parameters": {"pattern": "("}}, "parameters.pattern"),
        ("json_schema", "parameters.schema"),
        ({"name": "json_schema", "parameters": {"schema": {"$ref": "http://x/y"}}}, "parameters.schema"),
        ({"name": "json_schema", "parameters": {"schema": {}, "source": "body"}}, "parameters.source"),
        ("jsonpath", "parameters.path"),
        ({"name": "jsonpath", "parameters": {"path": "$.[["}}, "parameters.path"),
        ({"name": "jsonpath", "parameters": {"path": "$.a", "value": 1}, "score_type": "numeric"}, "parameters.value"),
        ("max_latency", "parameters.seconds"),
        ({"name": "max_latency", "parameters": {"seconds": True}}, "parameters.seconds"),
        ({"name": "max_latency", "parameters": {"seconds": 0}}, "parameters.seconds"),
        ({"name": "max_latency", "parameters": {"seconds": float("inf")}}, "parameters.seconds"),
        ({"name": "contains", "label": ""}, "label"),
        ({"name": "contains", "score_type": "numeric"}, "score_type"),
        ({"name": "contains", "score_type": ["binary"]}, "score_type"),
        ({"name": "contains", "threshold": True}, "threshold"),
        ({"name": "contains", "threshold": 10**400}, "threshold"),
        ({"name": "contains", "threshold_operator": "=="}, "threshold_operator"),
        ({"name": "contains", "min_score": 1, "max_score": 0}, "min_score"),
        ({"name": "contains", "max_score": 0.4}, "threshold"),
        ({"name": "contains", "ground_truth_required": "yes"}, "ground_truth_required"),
        ({"name": "contains", "class_name": "Equals"}, "class_name"),
        ({"name": "jsonpath", "parameters": {"path": "$.a"}, "score_type": "categorical"}, "reference_score"),
    ],
)
def test_a_wrong_field_is_refused_at_its_place(definition: Any, where: str) -> None:
    assert f"metrics[0].{where}" in _problems([definition])


@pytest.mark.parametrize(
    "definitions",
    [
        None,
        "contains",
        {"name": "contains"},
        ["contains"] * (MAX_METRICS + 1),
        [{"name": "contains", "x": "y" * 600_000}],
    ],
)
def test_what_is_no_list_or_too_much_is_refused_as_a_whole(definitions: Any) -> None:
    with pytest.raises(InvalidInput):
        check_definitions(definitions)


def test_problem_texts_can_be_sent_even_when_the_input_cannot() -> None:
    for definition in (
        {"name": "\ud800"},
        {"name": "contains", "\ud800": 1},
        {"name": "contains", "parameters": {"\ud800": 1}},
    ):
        for where, message in _problems([definition]).items():
            f"{where}{message}".encode()


def test_at_run_time_an_invalid_definition_stands_in_the_result_and_the_others_still_count() -> None:
    results = evaluate_all(["contains", "nonsense", {"name": "regex", "parameters": {"pattern": "("}}], _CONTEXT)
    assert list(results) == ["contains", "InvalidMetric_1", "InvalidMetric_2"]
    assert results["contains"]["is_successful"] is True
    invalid = results["InvalidMetric_1"]
    assert (invalid["score"], invalid["is_successful"], invalid["class_name"]) == (0.0, False, "InvalidMetric")
    assert "nonsense" in invalid["error"]


def test_no_result_is_lost_when_names_repeat() -> None:
    again = {"name": "equals", "label": "contains_2"}
    results = evaluate_all(["contains", again, "contains", "contains"], _CONTEXT)
    assert list(results) == ["contains", "contains_2", "contains_3", "contains_4"]
    assert [result["name"] for result in results.values()] == list(results)
    assert results["contains_2"]["class_name"] == "Equals"


def test_a_list_that_is_too_long_cannot_pass_by_being_cut() -> None:
    results = evaluate_all(["contains"] * (MAX_METRICS + 3), _CONTEXT)
    assert len(results) == MAX_METRICS + 1
    assert results[f"InvalidMetric_{MAX_METRICS}"]["is_successful"] is False


@pytest.mark.parametrize(("definitions", "names"), [(None, []), ([], []), ("contains", ["InvalidMetric_0"])])
def test_a_stored_value_that_is_no_list_never_passes(definitions: Any, names: list[str]) -> None:
    assert list(evaluate_all(definitions, _CONTEXT)) == names


def test_required_ground_truth_and_context_are_errors_where_they_are_missing() -> None:
    no_truth = MetricContext("Hello?", "fine", {"output": "fine"}, None, 0.1, 200)
    for requirement in ("ground_truth_required", "context_required"):
        definition = {"name": "contains", "parameters": {"value": "fine"}, requirement: True}
        assert "requires" in evaluate_all([definition], no_truth)["contains"]["error"]
    with_both = MetricContext("Hello?", "fine", {"output": "fine", "context": ["c"]}, "fine", 0.1, 200)
    definition = {"name": "contains", "ground_truth_required": True, "context_required": True}
    assert evaluate_all([definition], with_both)["contains"]["is_successful"] is True


def test_a_result_has_the_stored_shape() -> None:
    (result,) = evaluate_all([{"name": "contains", "label": "says fine"}], _CONTEXT).values()
    assert result == {
        "score": 1.0,
        "reason": "The answer contains 'fine'.",
        "is_successful": True,
        "threshold": 0.5,
        "backend": "rhesis",
        "name": "says fine",
        "class_name": "Contains",
        "description": "Pass when the answer contains the expected text, or every one of several.",
    }


_PLUGIN = '''
from rhesis.backend.errors import InvalidInput
from rhesis.backend.metrics.definitions import MetricResult, ScoreType

class Politeness:
    """Count polite words."""

    def __init__(self, definition):
        if "word" not in definition.parameters:
            raise InvalidInput("give a `word`")
        self.definition = definition

    def evaluate(self, context):
        score = float(context.output.count(self.definition.parameters["word"]))
        return self.definition.result(score, "counted")

def raising(definition):
    class Raising:
        def evaluate(self, context):
            raise RuntimeError("no licence\\nsecond line")
    return Raising()

def odd(definition):
    class Odd:
        def evaluate(self, context):
            return definition.parameters.get("answer")
    return Odd()

def unusable(definition):
    class Unusable:
        def evaluate(self, context):
            return MetricResult("x", "y", "z", float("nan"), ScoreType.NUMERIC, 0.5, "r", True, "d")
    return Unusable()

def broken(definition):
    raise KeyError("model")

class contains:
    def __init__(self, definition):
        raise AssertionError("a plugin must not replace a built-in metric")
'''


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A real distribution on sys.path that offers metrics."""
    metadata = tmp_path / "acme_judges-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-judges\nVersion: 1.0\n")
    names = {"politeness": "Politeness"} | {name: name for name in ("raising", "odd", "unusable", "broken", "contains")}
    lines = [f"{name} = acme_judges_for_tests:{target}" for name, target in names.items()]
    lines.append("absent = acme_judges_for_tests_that_do_not_exist:Absent")
    (metadata / "entry_points.txt").write_text("[rhesis.metrics]\n" + "\n".join(lines) + "\n")
    (tmp_path / "acme_judges_for_tests.py").write_text(textwrap.dedent(_PLUGIN))
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("acme_judges_for_tests", None)


@pytest.mark.usefixtures("plugin")
def test_an_installed_distribution_adds_metrics_by_entry_point() -> None:
    assert "politeness" in known_metrics()
    definition = {"name": "politeness", "parameters": {"word": "thanks"}, "threshold": 1}
    check_definitions([definition])
    result = evaluate_all([definition], _CONTEXT)["politeness"]
    assert (result["score"], result["is_successful"]) == (1.0, True)
    assert (result["backend"], result["class_name"]) == ("acme-judges", "Politeness")
    assert result["description"] == "Count polite words."


@pytest.mark.usefixtures("plugin")
def test_a_plugin_cannot_replace_a_built_in_metric() -> None:
    assert evaluate_all(["contains"], _CONTEXT)["contains"]["backend"] == "rhesis"
    assert known_metrics().count("contains") == 1


@pytest.mark.usefixtures("plugin")
def test_a_plugin_that_refuses_or_fails_is_a_problem_at_save() -> None:
    problems = _problems(["politeness", "broken", "absent"])
    assert "give a `word`" in problems["metrics[0]"]
    assert "KeyError" in problems["metrics[1]"]
    assert "cannot be imported" in problems["metrics[2]"]


@pytest.mark.usefixtures("plugin")
def test_a_plugin_that_misbehaves_at_run_time_becomes_an_error_and_never_a_pass() -> None:
    results = evaluate_all(["raising", "odd", "unusable", "broken", "absent", "contains"], _CONTEXT)
    assert results["raising"]["error"] == "RuntimeError: no licence"
    assert "NoneType" in results["odd"]["error"]
    assert "not a finite number" in results["unusable"]["error"]
    assert "InvalidMetric_3" in results
    assert "InvalidMetric_4" in results
    assert [name for name, result in results.items() if result["is_successful"]] == ["contains"]


def test_without_the_distribution_its_metrics_are_unknown() -> None:
    assert "politeness" not in known_metrics()


def test_built_metrics_can_be_used_again_for_another_answer() -> None:
    (metric,) = build_metrics(["contains"])
    other = MetricContext("Hello?", "bad", {"output": "bad"}, "fine", 0.1, 200)
    assert [metric.evaluate(context).is_successful for context in (_CONTEXT, other, _CONTEXT)] == [True, False, True]
