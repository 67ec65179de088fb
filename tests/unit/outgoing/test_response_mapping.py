"""What a JSON path finds, and what stops one that visits too much."""

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rhesis.backend.errors import InvalidInput
from rhesis.backend.outgoing.mapping import (
    MAX_DEPTH,
    check_jsonpath,
    check_mappings,
    extract,
    map_response,
    nesting_of,
    text_of,
)


def _nested(depth: int, inner: Any = None) -> Any:
    for _ in range(depth):
        inner = {"a": inner}
    return inner


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("$.choices[0].text", ["one"]),
        ("$.choices[*].text", ["one", "two"]),
        ("$..text", ["one", "two"]),
        ("$.choices[?@.score > 0.5].text", ["two"]),
        ("$.choices[?search(@.text, '^t')].score", [0.9]),
        ("$.choices[?match(@.text, 'o.e')].score", [0.1]),
        ("$.choices[?match(@.text, 'o')].score", []),
        ("$.choices[?@.text == $.wanted].score", [0.9]),
        ("$.choices[?length(@.text) == 3 && count(@.*) == 2].score", [0.1, 0.9]),
        ("$['wanted']", ["two"]),
        ("$.missing", []),
        ("$.choices[-1].text", ["two"]),
    ],
)
def test_a_path_finds_its_values_in_document_order(path: str, found: list[Any]) -> None:
    document = {"wanted": "two", "choices": [{"text": "one", "score": 0.1}, {"text": "two", "score": 0.9}]}
    assert extract(document, path) == found


def test_a_document_that_is_a_text_is_not_parsed_again() -> None:
    assert extract('{"a": 1', "$") == ['{"a": 1']
    assert extract('{"a": 1}', "$.a") == []


@pytest.mark.parametrize(
    "path",
    [
        "",
        "output",
        "$.",
        "$[",
        "$.a[?@ =~ /x/]",
        "$.a | $.b",
        "$..~",
        "$[?nope(@)]",
        "$[?" + "(" * 900,
        "$[1e999]",
        "$." + "a" * 1_000,
    ],
)
def test_a_path_outside_the_standard_is_refused_at_save(path: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_jsonpath(path)
    assert refused.value.code == "invalid_json_path"
    assert len(str(refused.value)) < 300


def test_a_pattern_with_look_around_is_refused_at_save_with_that_reason() -> None:
    with pytest.raises(InvalidInput, match="look-around"):
        check_jsonpath("$[?search(@, '(?=a)')]")


def test_a_pattern_from_the_document_that_cannot_run_matches_nothing() -> None:
    assert extract({"pattern": "(?=a)", "items": ["a"]}, "$.items[?search(@, $.pattern)]") == []


def test_a_catastrophic_pattern_in_a_path_answers_at_once() -> None:
    begun = time.monotonic()
    assert extract(["a" * 50_000 + "!"], "$[?search(@, '(a+)+$')]") == []
    assert time.monotonic() - begun < 1


@pytest.mark.parametrize(
    ("path", "document"),
    [
        ("$..a", _nested(MAX_DEPTH + 5)),
        ("$[*]", list(range(20_000))),
        ("$[?@ == 1]", list(range(20_000))),
        ("$..[?@..[?@..x]]", [[[[list(range(10))] * 10] * 10] * 10]),
        ("$[?@ == $[0]]", [[[0] * 90] * 90] * 500),
        ("$..a..a..a..a", _nested(60, list(range(1_000_000)))),
        ("$[?search(@, '(x?){1000}y')]", ["x" * 100_000] * 100),
    ],
)
def test_a_path_that_visits_too_much_is_stopped_quickly(path: str, document: Any) -> None:
    begun = time.monotonic()
    with pytest.raises(InvalidInput) as refused:
        extract(document, path)
    assert refused.value.code == "json_path_too_expensive"
    assert time.monotonic() - begun < 20


def test_a_plain_path_is_free_however_large_the_document() -> None:
    document = {"embedding": list(range(200_000)), "choices": [{"text": "one"}]}
    assert extract(document, "$.choices[0].text") == ["one"]
    assert len(extract(document, "$.embedding")[0]) == 200_000


def test_a_stopped_path_does_not_spend_the_budget_of_the_next() -> None:
    with pytest.raises(InvalidInput):
        extract(list(range(20_000)), "$[*]")
    assert extract([1, 2], "$[*]") == [1, 2]


def test_one_match_is_a_value_and_several_are_a_list() -> None:
    document = {"text": "hi", "tags": ["a", "b"], "none": None}
    paths = {"output": "$.text", "tags": "$.tags[*]", "none": "$.none", "missing": "$.x"}
    assert map_response(document, paths) == {"output": "hi", "tags": ["a", "b"], "none": None}


def test_too_many_mappings_are_refused() -> None:
    with pytest.raises(InvalidInput, match="at most 50"):
        check_mappings({str(number): "$" for number in range(51)})


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_the_root_path_finds_the_document_itself(document: Any) -> None:
    assert extract(document, "$") == [document]


def test_nesting_is_counted_without_recursion() -> None:
    assert nesting_of("text") == 0
    assert nesting_of([[1], {"a": {}}]) == 3
    assert nesting_of(_nested(5_000)) == 5_000


def test_a_mapped_value_that_is_not_text_becomes_json() -> None:
    assert text_of("plain") == "plain"
    assert text_of({"a": [1, "ü"]}) == '{"a": [1, "ü"]}'
