"""Slugs."""

import re

from hypothesis import given
from hypothesis import strategies as st

from rhesis.backend.app.services.slugs import slug_candidates, slug_of


@given(st.text())
def test_every_name_gives_a_slug_that_fits_an_address(name: str):
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", slug_of(name))
    assert len(slug_of(name)) <= 80


def test_accents_are_dropped_and_a_name_without_latin_letters_still_gets_one():
    assert slug_of("Crème brûlée!") == "creme-brulee"
    assert slug_of("安全") == "set"


def test_candidates_begin_with_the_plain_slug_and_do_not_repeat():
    candidates = list(slug_candidates("Smoke"))
    assert candidates[0] == "smoke"
    assert len(set(candidates)) == len(candidates) > 2
