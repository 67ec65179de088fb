"""Foreign text becomes storable, visibly."""

import json
import math

from hypothesis import given
from hypothesis import strategies as st

from rhesis.backend.domain.text import clean_json, clean_text

ANY_TEXT = st.text(st.characters(codec=None))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT | st.binary(max_size=4),
    lambda c: st.lists(c) | st.dictionaries(ANY_TEXT | st.integers(), c) | st.tuples(c),
    max_leaves=20,
)


def test_a_nul_and_a_lone_surrogate_become_the_replacement_character():
    assert clean_text("a\x00b\ud800c") == ("a\ufffdb\ufffdc", True)


def test_clean_text_says_when_nothing_changed():
    assert clean_text("prompt \U0001f600") == ("prompt \U0001f600", False)


def test_not_a_number_and_infinity_become_null():
    assert clean_json({"a": math.nan, "b": [math.inf, 1.5]}) == ({"a": None, "b": [None, 1.5]}, True)


@given(VALUES)
def test_whatever_comes_in_can_be_stored_as_jsonb(value):
    cleaned, _ = clean_json(value)
    text = json.dumps(cleaned, ensure_ascii=False, allow_nan=False)
    text.encode("utf-8")
    assert "\\u0000" not in text
    assert clean_json(cleaned) == (cleaned, False)
