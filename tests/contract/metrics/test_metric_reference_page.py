"""The reference page knows every metric and every parameter, and its examples work."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from rhesis.backend.errors import InvalidInput
from rhesis.backend.metrics.definitions import MetricContext, MetricDefinition, ScoreType
from rhesis.backend.metrics.evaluate import evaluate_all
from rhesis.backend.metrics.parsing import FIELDS
from rhesis.backend.metrics.registry import BUILT_IN_METRICS, check_definitions

_PAGE = (Path(__file__).resolve().parents[3] / "docs" / "reference" / "metrics.md").read_text(encoding="utf-8")
_SECTIONS = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", _PAGE, re.MULTILINE | re.DOTALL))
_EXAMPLES = re.findall(r"^```json\n(.*?)^```", _PAGE, re.MULTILINE | re.DOTALL)


def _as_list(example: str) -> list[Any]:
    parsed = json.loads(example)
    return parsed if isinstance(parsed, list) else [parsed]


@pytest.mark.parametrize("name", BUILT_IN_METRICS)
def test_every_metric_has_a_section_with_an_example_of_itself(name: str) -> None:
    examples = re.findall(r"^```json\n(.*?)^```", _SECTIONS[name], re.MULTILINE | re.DOTALL)
    assert name in {definition["name"] for example in examples for definition in _as_list(example)}


@pytest.mark.parametrize("name", BUILT_IN_METRICS)
def test_every_parameter_of_a_metric_is_in_its_section(name: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_definitions([{"name": name, "parameters": {"no_such_parameter": 1}}])
    said = next(problem.message for problem in caught.value.problems if "no_such_parameter" in problem.where)
    for parameter in said.partition("it takes ")[2].rstrip(".").split(", "):
        assert f"`{parameter}`" in _SECTIONS[name]


def test_every_field_of_a_definition_is_on_the_page() -> None:
    assert [field for field in FIELDS if f"`{field}`" not in _PAGE] == []


@pytest.mark.parametrize("example", _EXAMPLES)
def test_every_example_is_accepted_when_saved(example: str) -> None:
    check_definitions(_as_list(example))


def test_the_page_lists_every_field_of_a_result() -> None:
    context = MetricContext("?", "fine", {"output": "fine"}, None, 0.1, 200)
    for result in evaluate_all(
        ["max_latency", {"name": "contains", "parameters": {"value": "fine"}}], context
    ).values():
        assert [key for key in result if f"`{key}`" not in _PAGE] == []


def test_the_page_shows_a_plugin_that_works() -> None:
    (source,) = re.findall(r"^```python\n(.*?)^```", _PAGE, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(source, "metrics.md", "exec"), names)
    definition = MetricDefinition(
        "word_count", "words", "WordCount", "acme-judges", score_type=ScoreType.NUMERIC, threshold=3
    )
    context = MetricContext("?", "one two three", {"output": "one two three"}, None, 0.1, 200)
    assert names["WordCount"](definition).evaluate(context).is_successful is True
