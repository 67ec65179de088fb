"""Patterns run in bounded time, and what cannot is refused with its reason."""

import time

import pytest

from rhesis.backend.errors import InvalidInput
from rhesis.backend.outgoing.patterns import MAX_PATTERN_LENGTH, compile_pattern


def test_a_catastrophic_pattern_answers_at_once() -> None:
    begun = time.monotonic()
    assert compile_pattern("(a+)+$").search("a" * 100_000 + "!") is None
    assert time.monotonic() - begun < 1


@pytest.mark.parametrize("pattern", ["(?=a)", "(?<=a)b", "(?!a)", "(?P<n>a)(?P=n)", "(?>a)"])
def test_look_around_is_refused_with_that_reason(pattern: str) -> None:
    with pytest.raises(InvalidInput, match="look-around") as refused:
        compile_pattern(pattern)
    assert refused.value.code == "invalid_pattern"


def test_a_back_reference_is_refused_with_that_reason() -> None:
    with pytest.raises(InvalidInput, match="back-references"):
        compile_pattern(r"(a)\1")


@pytest.mark.parametrize(
    "pattern", ["(", "[", "*a", "a{2000}", "(a{1000}){1000}", "a++", r"\Z", "\ud800", "a" * (MAX_PATTERN_LENGTH + 1)]
)
def test_a_pattern_that_cannot_run_is_refused(pattern: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        compile_pattern(pattern)
    assert refused.value.code == "invalid_pattern"


def test_a_large_pattern_on_a_large_text_is_refused_instead_of_run() -> None:
    pattern = compile_pattern("(x?){1000}y")
    begun = time.monotonic()
    with pytest.raises(InvalidInput, match="too large for a text"):
        pattern.search("x" * 1_000_000)
    assert time.monotonic() - begun < 1


def test_an_ordinary_pattern_finds_what_re_finds() -> None:
    assert compile_pattern(r"(?i)\bhello\b").search("Well, HELLO there")
    assert compile_pattern(r"\d{4}-\d\d").fullmatch("2026-11").group() == "2026-11"
    assert compile_pattern(r"\d{4}").fullmatch("12345") is None


def test_text_that_is_not_storable_is_searched_as_it_would_be_stored() -> None:
    assert compile_pattern("a.b").search("a\ud800b")
