"""Whatever was stored as metrics and whatever an endpoint answered, judging gives JSON and never raises."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from rhesis.backend.errors import InvalidInput
from rhesis.backend.metrics.definitions import MetricContext
from rhesis.backend.metrics.evaluate import evaluate_all
from rhesis.backend.metrics.registry import check_definitions, known_metrics

_TEXT = st.text(st.characters(codec=None), max_size=20)
_SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | _TEXT
_ANYTHING = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3), max_leaves=8
)
_PARAMETER_NAMES = st.sampled_from(
    ["value", "values", "pattern", "schema", "path", "seconds", "source", "case_sensitive", "full_match", "strip"]
)
_USEFUL = st.sampled_from(["a", "$.a", "^a", {"type": "string"}, {"$ref": "#"}, ["a", "b"], 1, True, "mapped"])
_FIELDS = st.fixed_dictionaries(
    {"name": st.sampled_from(known_metrics())},
    optional={
        "label": _TEXT,
        "parameters": st.dictionaries(_PARAMETER_NAMES, _USEFUL | _ANYTHING, max_size=4) | _ANYTHING,
        "score_type": st.sampled_from(["binary", "numeric", "categorical"]) | _SCALARS,
        "threshold": st.floats() | _SCALARS,
        "threshold_operator": st.sampled_from(["=", "<", ">", "<=", ">=", "!="]) | _SCALARS,
        "reference_score": _SCALARS,
        "min_score": _SCALARS,
    },
)
_DEFINITIONS = st.lists(st.sampled_from(known_metrics()) | _FIELDS | _ANYTHING, max_size=6) | _ANYTHING
_OUTPUTS = _TEXT | _ANYTHING.map(json.dumps)
_CONTEXTS = st.builds(
    MetricContext,
    prompt=_TEXT,
    output=_OUTPUTS,
    mapped=st.dictionaries(_TEXT, _ANYTHING, max_size=3),
    expected_response=st.none() | _TEXT,
    latency_seconds=st.floats(),
    status_code=st.none() | st.integers(),
)


@settings(max_examples=300, deadline=None)
@given(_DEFINITIONS, _CONTEXTS)
def test_judging_never_raises_and_gives_strict_json_with_one_result_per_definition(
    definitions: Any, context: MetricContext
) -> None:
    results = evaluate_all(definitions, context)
    json.dumps(results, allow_nan=False, ensure_ascii=False).encode()
    if isinstance(definitions, list):
        assert len(results) == len(definitions)
    for name, result in results.items():
        assert result["name"] == name
        assert isinstance(result["is_successful"], bool)
        assert not (result["is_successful"] and "error" in result)


@settings(max_examples=300, deadline=None)
@given(_DEFINITIONS, _CONTEXTS)
def test_what_the_strict_check_accepts_is_never_an_invalid_metric(definitions: Any, context: MetricContext) -> None:
    try:
        check_definitions(definitions)
    except InvalidInput:
        return
    assert not any(result["class_name"] == "InvalidMetric" for result in evaluate_all(definitions, context).values())
