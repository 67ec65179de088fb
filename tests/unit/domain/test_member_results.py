"""What a chord's members returned is read in every shape it has been seen in."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rhesis.backend.domain.results import failed_members, failure, parse_start, unpack

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda c: st.lists(c) | st.dictionaries(st.text(), c)
)


def test_plain_values_are_taken_as_they_are():
    assert unpack({"test_id": "a"}) == {"test_id": "a"}
    assert unpack([1, 2]) == [1, 2]


def test_only_the_exact_shape_of_a_result_tuple_counts_as_no_value():
    assert unpack([["task-id", None], None]) is None
    assert unpack([["task-id", "parent", "more"], None]) == [["task-id", "parent", "more"], None]
    assert unpack([[1, None], None]) == [[1, None], None]


def test_no_value_and_a_failed_status_both_count_as_failed():
    assert failed_members([None, failure("a", "x"), {"status": "Error"}, {"status": "Pass"}, [["id", None], None]]) == 3


def test_no_list_at_all_counts_nothing():
    assert failed_members(None) == 0


@given(st.lists(JSON))
def test_any_json_is_counted_without_an_error(results):
    assert 0 <= failed_members(results) <= len(results)


def test_a_start_without_a_zone_is_utc():
    assert parse_start("2026-01-02T03:04:05") == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_a_start_keeps_its_zone():
    assert parse_start("2026-01-02T03:04:05+02:00") == datetime(2026, 1, 2, 1, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize("text", [None, "", "yesterday"])
def test_what_is_no_time_is_none(text):
    assert parse_start(text) is None
