"""What the metrics that read JSON say about an answer, and what a hostile schema or answer costs."""

import json
import time
from typing import Any

import pytest

from rhesis.backend.errors import InvalidInput
from rhesis.backend.metrics import definitions as definitions_module
from rhesis.backend.metrics import schemas
from rhesis.backend.metrics.definitions import MetricContext
from rhesis.backend.metrics.documents import equal_json, parse_document, quiet
from rhesis.backend.metrics.evaluate import evaluate_all
from rhesis.backend.metrics.schemas import compile_schema


def _context(output: str, mapped: dict[str, Any] | None = None) -> MetricContext:
    return MetricContext("Hello?", output, mapped or {"output": output}, None, 0.1, 200)


def _one(definition: Any, output: str, mapped: dict[str, Any] | None = None) -> dict[str, Any]:
    (result,) = evaluate_all([definition], _context(output, mapped)).values()
    return result


def _schema(schema: Any, **parameters: Any) -> dict[str, Any]:
    return {"name": "json_schema", "parameters": {"schema": schema, **parameters}}


def _path(path: str, **fields: Any) -> dict[str, Any]:
    value = {"value": fields.pop("value")} if "value" in fields else {}
    return {"name": "jsonpath", "parameters": {"path": path, **value}, **fields}


def test_json_schema_names_the_first_place_that_does_not_fit() -> None:
    schema = {"type": "object", "properties": {"days": {"type": "integer"}}, "required": ["days"]}
    assert _one(_schema(schema), '{"days": 14}')["is_successful"] is True
    result = _one(_schema(schema), '{"days": "14"}')
    assert result["is_successful"] is False
    assert result["reason"] == "At $.days: '14' is not of type 'integer'."


@pytest.mark.parametrize("output", ["", "not json", "NaN", '{"a": Infinity}', "[" * 100_000, "1" * 5_000, "[1,]"])
def test_an_answer_that_is_not_json_fails_with_the_reason_and_without_error(output: str) -> None:
    result = _one(_schema({}), output)
    assert result["is_successful"] is False
    assert "error" not in result
    assert result["reason"].startswith("The answer is not JSON: ")


def test_an_answer_of_too_many_values_is_refused_before_it_is_built() -> None:
    started = time.monotonic()
    assert "1000000 JSON values" in (parse_document("[" + "[]," * 3_000_000 + "0]").problem or "")
    assert time.monotonic() - started < 1


def test_the_answer_is_parsed_once_for_all_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def counted(text: str) -> Any:
        calls.append(len(text))
        return parse_document(text)

    monkeypatch.setattr(definitions_module, "parse_document", counted)
    for output in ('{"a": 1}', "broken {"):
        calls.clear()
        evaluate_all([_schema({}), _path("$.a"), _path("$.a", value=1)], _context(output))
        assert calls == [len(output)]


def test_json_metrics_read_the_mapped_fields_when_told() -> None:
    definition = _schema({"required": ["model"]}, source="mapped")
    assert _one(definition, "plain text", {"output": "plain text", "model": "m"})["is_successful"] is True
    assert _one(definition, "plain text", {"output": "plain text"})["is_successful"] is False


def test_jsonpath_without_value_asks_only_whether_something_is_there() -> None:
    assert _one(_path("$.a.b"), '{"a": {"b": null}}')["is_successful"] is True
    assert _one(_path("$.a.c"), '{"a": {"b": null}}')["is_successful"] is False


def test_jsonpath_compares_as_json_does() -> None:
    assert _one(_path("$.n", value=1), '{"n": 1.0}')["is_successful"] is True
    assert _one(_path("$.n", value=1), '{"n": true}')["is_successful"] is False
    assert _one(_path("$.items[*].id", value=2), '{"items": [{"id": 1}, {"id": 2}]}')["is_successful"] is True


def test_a_numeric_jsonpath_is_judged_by_threshold_and_operator() -> None:
    definition = _path("$.confidence", score_type="numeric", threshold=0.8, threshold_operator=">")
    result = _one(definition, '{"confidence": 0.9}')
    assert (result["score"], result["threshold"], result["is_successful"]) == (0.9, 0.8, True)
    assert _one(definition, '{"confidence": 0.8}')["is_successful"] is False


@pytest.mark.parametrize("output", ['{"n": "3"}', '{"n": true}', "{}", "no json", '{"n": 1e999}'])
def test_a_numeric_score_that_is_not_there_never_passes_a_below_threshold(output: str) -> None:
    definition = _path("$.n", score_type="numeric", threshold=10, threshold_operator="<")
    assert _one(definition, output)["is_successful"] is False


def test_a_numeric_score_outside_its_range_is_an_error() -> None:
    definition = _path("$.n", score_type="numeric", threshold=3, min_score=1, max_score=5)
    assert "outside 1 to 5" in _one(definition, '{"n": 7}')["error"]


def test_a_categorical_score_is_compared_with_the_reference() -> None:
    definition = _path("$.tone", score_type="categorical", reference_score="polite")
    result = _one(definition, '{"tone": "polite"}')
    assert (result["score"], result["is_successful"], result["threshold"]) == ("polite", True, None)
    assert _one(definition, '{"tone": "rude"}')["is_successful"] is False
    assert _one({**definition, "threshold_operator": "!="}, '{"tone": "rude"}')["is_successful"] is True


@pytest.mark.parametrize(
    ("schema", "fitting", "unfitting"),
    [
        ({"pattern": "^a+$"}, "aaa", "b"),
        ({"patternProperties": {"^n_": {"type": "integer"}}}, {"n_a": 1, "x": "y"}, {"n_a": "1"}),
        (
            {"properties": {"a": {}}, "patternProperties": {"^x": {}}, "additionalProperties": False},
            {"xa": 1},
            {"b": 1},
        ),
        ({"additionalProperties": {"type": "integer"}}, {"a": 1}, {"a": "1"}),
        ({"uniqueItems": True}, [1, True, "1", [1], {"a": [1]}], [{"a": 1}, {"a": 1.0}]),
        ({"$defs": {"n": {"minimum": 1}}, "items": {"$ref": "#/$defs/n"}}, [1, 2], [1, 0]),
        ({"$schema": "http://json-schema.org/draft-07/schema#", "items": [{"type": "string"}]}, ["a", 1], [1]),
        ({"$id": "https://json-schema.org/draft/2020-12/schema", "$ref": "#/$defs/n", "$defs": {"n": False}}, None, 1),
    ],
)
def test_schema_keywords_keep_their_meaning_in_the_bounded_validator(schema: Any, fitting: Any, unfitting: Any) -> None:
    safe = compile_schema(schema)
    if fitting is not None:
        assert safe.first_problem(quiet(fitting)) is None
    assert safe.first_problem(quiet(unfitting)) is not None


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"$ref": "http://127.0.0.1:9/schema.json"}, "leads out of the schema"),
        ({"properties": {"a": {"$ref": "other.json#/x"}}}, "leads out of the schema"),
        ({"$ref": "#/$defs/absent"}, "leads nowhere"),
        ({"pattern": "(?=a)b"}, "look-around"),
        ({"patternProperties": {"(a)\\1": {}}}, "back-references"),
        ({"hidden": {"pattern": "(?<=a)b"}, "$ref": "#/hidden"}, "look-around"),
        ({"type": "strin"}, "'strin'"),
        ({"properties": {"a": {"$schema": "https://json-schema.org/draft/2020-12/schema"}}}, "at the top"),
        ({"properties": {"a": {"$id": "http://example.org/a"}}}, "at the top"),
        ({"$schema": "http://json-schema.org/draft-03/schema#"}, "$schema must be one of"),
        ({"unevaluatedProperties": False}, "use additionalProperties"),
        ({"description": "x" * 300_000}, "bytes"),
        ({"enum": list(range(20_000))}, "10000 values"),
        (float("nan"), "not JSON"),
        (object(), "not JSON"),
        ("text", "not of type"),
    ],
)
def test_a_schema_that_cannot_be_run_safely_is_refused_with_the_reason(schema: Any, reason: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        compile_schema(schema)
    said = [str(caught.value), *(problem.message for problem in caught.value.problems)]
    assert any(reason in message for message in said), said


_FAN_OUT = {f"d{level}": {"allOf": [{"$ref": f"#/$defs/d{level + 1}"}] * 2} for level in range(40)}


@pytest.mark.parametrize(
    ("schema", "document"),
    [
        ({"$ref": "#/$defs/d0", "$defs": {**_FAN_OUT, "d40": {}}}, 1),
        ({"$ref": "#"}, 1),
        ({"items": {"anyOf": [False] * 900 + [True]}}, [1] * 1_000),
        ({"items": {"enum": list(range(900))}}, [899] * 1_000),
        ({"allOf": [{"items": True}] * 300}, [1] * 20_000),
        ({"allOf": [{"uniqueItems": True}] * 300}, [{"n": number} for number in range(5_000)]),
        ({"allOf": [{"pattern": "(a{1,30}){1,30}$"}] * 300}, "a" * 20_000),
    ],
)
def test_work_that_a_schema_multiplies_ends_with_an_error_in_seconds(
    schema: Any, document: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schemas, "MAX_STEPS", 30_000)
    safe = compile_schema(schema)
    started = time.monotonic()
    with pytest.raises(InvalidInput, match="steps on this answer"):
        safe.first_problem(quiet(document))
    assert time.monotonic() - started < 5


def test_branches_that_all_fail_on_ten_megabytes_do_not_repeat_them() -> None:
    schema = compile_schema({"anyOf": [False, {"type": "integer"}] * 1_000})
    started = time.monotonic()
    problem = schema.first_problem(quiet("x" * 10_000_000))
    assert problem is not None
    assert len(problem) < 800
    assert time.monotonic() - started < 5


def test_json_equality_tells_true_from_one_and_sees_through_containers() -> None:
    assert equal_json({"a": [1, None]}, {"a": [1.0, None]})
    assert not equal_json([True], [1])
    assert not equal_json({"a": 1}, {"a": 1, "b": 2})


def test_ten_megabytes_of_json_text_are_parsed_in_seconds() -> None:
    started = time.monotonic()
    text = json.dumps({"answer": "x" * 10_000_000})
    assert _one(_path("$.answer"), text)["is_successful"] is True
    assert time.monotonic() - started < 5
