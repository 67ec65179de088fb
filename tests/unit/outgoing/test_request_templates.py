"""A template may say little, and a prompt can say nothing in its place."""

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rhesis.backend.errors import InvalidInput
from rhesis.backend.outgoing.templates import (
    MAX_RESULT_BYTES,
    TemplateRefused,
    check_line,
    check_template,
    literal_texts,
    render_line,
    render_template,
)

VARIABLES: dict[str, Any] = {
    "input": "hello",
    "auth_token": "t0ken",
    "test": {"n": 3, "tags": ["x"], "items": "own key"},
}


@pytest.mark.parametrize(
    ("template", "rendered"),
    [
        ("plain", "plain"),
        ("{{ input }}", "hello"),
        ("say {{ input }}!", "say hello!"),
        ("{{ test.n }}", 3),
        ("{{ test }}", VARIABLES["test"]),
        ("{{ test['tags'][0] }}", "x"),
        ("{{ test.items }}", "own key"),
        ("n={{ test.n }}", "n=3"),
        ("{{ input | upper | trim }}", "HELLO"),
        ("{{ input | length }}", 5),
        ("{{ test.tags | tojson }}", '["x"]'),
        ("{{ test.missing | default('none') }}", "none"),
        ("{% if test.missing %}a{% else %}b{% endif %}", "b"),
        ("{{ input if test.n }}", "hello"),
        ("{{ 'a b&c' | urlencode }}", "a%20b%26c"),
        ({"a": ["{{ input }}", 1, None, True]}, {"a": ["hello", 1, None, True]}),
    ],
)
def test_what_is_allowed_is_rendered(template: Any, rendered: Any) -> None:
    check_template(template)
    assert render_template(template, VARIABLES) == rendered


@pytest.mark.parametrize(
    "source",
    [
        "{{ 'a' * 500000000 }}",
        "{{ input + input }}",
        "{{ input ~ input }}",
        "{{ -test.n }}",
        "{{ input == 'a' }}",
        "{{ not input }}",
        "{{ input is defined }}",
        "{{ [input] }}",
        "{{ {'a': input} }}",
        "{{ input[:3] }}",
        "{{ lipsum() }}",
        "{{ input.upper() }}",
        "{{ input.__class__ }}",
        "{{ input | format }}",
        "{{ input | center(100000) }}",
        "{{ input | attr('x') }}",
        "{{ input | default(1, 2) }}",
        "{{ input | tojson(indent=9) }}",
        "{{ environ }}",
        "{{ self }}",
        "{{ _budget }}",
        "{{ 1e999 }}",
        "{% for x in test %}{% endfor %}",
        "{% set x = 1 %}",
        "{% macro m() %}{% endmacro %}",
        "{% include 'x' %}",
        "{% import 'x' as y %}",
        "{% extends 'x' %}",
        "{% block b %}{% endblock %}",
        "{% filter upper %}x{% endfilter %}",
        "{% call x() %}{% endcall %}",
        "{{ input",
        "{% if input %}",
        "{{ " + "(" * 3_000 + "input" + ")" * 3_000 + " }}",
        "{% if input %}" * 200 + "{% endif %}" * 200,
        "{{ input" + "|upper" * 2_000 + " }}",
    ],
)
def test_everything_else_is_refused_at_save(source: str) -> None:
    with pytest.raises(TemplateRefused) as refused:
        check_template({"text": source})
    assert refused.value.code == "invalid_template"
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize("template", [{"{{ input }}": 1}, {"a": {1, 2}}, {"a": float("nan")}, {1: "a"}])
def test_a_template_that_is_not_plain_json_with_plain_keys_is_refused(template: Any) -> None:
    with pytest.raises(TemplateRefused):
        check_template(template)


def test_a_template_that_is_too_large_or_too_deep_is_refused() -> None:
    with pytest.raises(TemplateRefused, match="at most 65536"):
        check_template("a" * 70_000)
    deep: Any = "x"
    for _ in range(40):
        deep = [deep]
    with pytest.raises(TemplateRefused, match="levels deep"):
        check_template(deep)


@pytest.mark.parametrize(
    "source",
    [
        "{{ input" + "|tojson" * 25 + " }}",
        "{{ input" + "|urlencode" * 25 + " }}",
        "{{ input }}" * 5_000,
        "{% if input|urlencode %}{% endif %}" * 1_800,
        "{{ test|tojson }}" * 3_000,
        "{{ input|length }}" * 3_000,
    ],
)
def test_a_template_that_would_grow_beyond_all_bounds_is_stopped_early(source: str) -> None:
    check_template(source)
    large = '"%' * 400_000
    begun = time.monotonic()
    with pytest.raises(TemplateRefused, match=str(MAX_RESULT_BYTES)):
        render_template(source, {"input": large, "test": {"a": large}})
    assert time.monotonic() - begun < 20


def test_a_body_larger_than_the_limit_is_refused_even_if_no_leaf_is() -> None:
    with pytest.raises(TemplateRefused, match="bytes of this test"):
        render_template(["{{ input }}"] * 3, {"input": "x" * 1_000_000})


@pytest.mark.parametrize(
    "source",
    ["{{ auth_token }}", "{{ test.missing }}", "{{ test.a.b }}", "{{ input.upper }}", "{{ test.missing | upper }}"],
)
def test_what_the_test_does_not_have_is_an_error_not_an_empty_text(source: str) -> None:
    with pytest.raises(TemplateRefused, match="does not fit this test"):
        render_template(source, {"input": "hello", "auth_token": None, "test": {}})


def test_a_value_that_json_cannot_say_is_refused() -> None:
    with pytest.raises(TemplateRefused, match="not a JSON value"):
        render_template("{{ test.n }}", {"input": "", "test": {"n": float("inf")}})


@given(st.text())
def test_a_prompt_adds_no_key_and_arrives_unchanged(prompt: str) -> None:
    template = {"messages": [{"role": "user", "content": "{{ input }}"}], "note": "asked: {{ input }}"}
    rendered = json.loads(json.dumps(render_template(template, {"input": prompt})))
    assert rendered == {"messages": [{"role": "user", "content": prompt}], "note": f"asked: {prompt}"}


def test_a_prompt_that_is_a_template_is_not_rendered() -> None:
    assert render_template("{{ input }}", {"input": "{{ auth_token }}", "auth_token": "t0ken"}) == "{{ auth_token }}"


def test_rendering_leaves_the_template_and_the_variables_as_they_were() -> None:
    template = {"a": ["{{ input }}"]}
    variables = {"input": "x", "test": {}}
    render_template(template, variables)
    assert template == {"a": ["{{ input }}"]}
    assert variables == {"input": "x", "test": {}}


@pytest.mark.parametrize("prompt", ["a\r\nX-Admin: 1", "a\nb", "a\x00b", "a\x7fb"])
def test_a_header_never_holds_a_control_character(prompt: str) -> None:
    with pytest.raises(InvalidInput, match="control character"):
        render_line("{{ input }}", {"input": prompt})
    with pytest.raises(InvalidInput, match="control character"):
        check_line(prompt)


def test_a_header_value_is_always_text() -> None:
    assert render_line("{{ test.n }}", VARIABLES) == "3"
    assert render_line("Bearer {{ auth_token }}", VARIABLES) == "Bearer t0ken"


def test_the_constant_parts_of_a_template_are_known() -> None:
    assert literal_texts("Key {{ input | default('abc') }} {{ test['name'] }}") == ("Key ", " ", "abc")
    assert literal_texts("no template") == ("no template",)
    assert literal_texts("{{ broken") == ("{{ broken",)
