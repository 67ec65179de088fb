"""A filter becomes bound conditions on listed fields, or is refused with its position."""

import pytest

from rhesis.backend.app.models import TestRun
from rhesis.backend.app.repositories.filters import MAX_FILTER_LENGTH, MAX_FILTER_TERMS, conditions
from rhesis.backend.errors import InvalidInput

FIELDS = {
    "id": TestRun.id,
    "name": TestRun.name,
    "total_tests": TestRun.total_tests,
    "mean": TestRun.mean_execution_time_ms,
    "error": TestRun.error,
    "created_at": TestRun.created_at,
}


def compiled(text: str) -> list[tuple[str, list[object]]]:
    """Return each condition's SQL and the values bound to it."""
    found = []
    for condition in conditions(text, FIELDS):
        statement = condition.compile()
        found.append((str(statement), list(statement.params.values())))
    return found


@pytest.mark.parametrize(
    ("text", "sign"),
    [
        ("total_tests eq 3", "="),
        ("total_tests gt 3", ">"),
        ("total_tests ge 3", ">="),
        ("total_tests lt 3", "<"),
        ("total_tests le 3", "<="),
    ],
)
def test_each_comparison_becomes_its_operator(text: str, sign: str):
    assert compiled(text) == [(f"rhesis.test_run.total_tests {sign} :total_tests_1", [3])]


def test_ne_also_finds_rows_without_a_value():
    assert "IS DISTINCT FROM" in compiled("error ne 'x'")[0][0]


def test_terms_are_joined_by_and():
    assert len(compiled("total_tests gt 3 and name eq 'a' and contains(name, 'b') and name startswith 'c'")) == 4


@pytest.mark.parametrize("text", ["contains(name, 'a')", "name contains 'a'", "contains( name ,'a' )"])
def test_text_search_may_be_written_both_ways(text: str):
    assert compiled(text) == compiled("name contains 'a'")


@pytest.mark.parametrize(
    "hostile", ["x' or 1=1 --", "x''; drop table rhesis.test_run; --", "%", "_", "\\", "$$", "{}", "%(name)s", ":name"]
)
def test_a_literal_never_becomes_sql(hostile: str):
    written = hostile.replace("'", "''")
    (sql, values) = compiled(f"name eq '{written}'")[0]
    assert sql == "rhesis.test_run.name = :name_1"
    assert values == [hostile]


def test_wildcards_of_the_database_are_plain_characters_in_a_search():
    (sql, values) = compiled("name contains '50%_'")[0]
    assert "ESCAPE '/'" in sql
    assert values == ["50/%/_"]


def test_null_is_compared_with_is():
    assert compiled("error eq null") == [("rhesis.test_run.error IS NULL", [])]
    assert compiled("error ne null") == [("rhesis.test_run.error IS NOT NULL", [])]


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("", 1),
        ("name", 5),
        ("name eq", 8),
        ("secret eq 'x'", 1),
        ("name like 'x'", 6),
        ("name eq x", 9),
        ("name eq 'x", 9),
        ("name eq 'x' or name eq 'y'", 13),
        ("name eq 'x' and", 16),
        ("name eq 'x' name eq 'y'", 13),
        ("name eq ')' )", 13),
        ("contains(name 'x')", 15),
        ("contains(total_tests, '3')", 1),
        ("total_tests eq three", 16),
        ("total_tests eq 3000000000", 16),
        ("mean lt nan", 9),
        ("mean lt 1e999", 9),
        ("created_at ge 2026-01-31T00:00:00", 15),
        ("created_at ge yesterday", 15),
        ("id eq 12", 7),
        ("error gt null", 10),
        ("name eq 'a\x00b'", 9),
        ("name eq 'a\ud800b'", 9),
        ("'name' eq 'x'", 1),
    ],
)
def test_what_cannot_be_understood_is_refused_with_its_position(text: str, position: int):
    with pytest.raises(InvalidInput) as caught:
        conditions(text, FIELDS)
    assert (caught.value.code, f"position {position}:" in str(caught.value)) == ("invalid_filter", True), caught.value


def test_a_filter_has_a_bounded_length():
    padding = " " * (MAX_FILTER_LENGTH - len("total_tests eq 3"))
    assert conditions("total_tests eq 3" + padding, FIELDS)
    with pytest.raises(InvalidInput):
        conditions("total_tests eq 3 " + padding, FIELDS)


def test_a_filter_has_a_bounded_number_of_terms():
    term = "total_tests eq 3"
    assert conditions(" and ".join([term] * MAX_FILTER_TERMS), FIELDS)
    with pytest.raises(InvalidInput):
        conditions(" and ".join([term] * (MAX_FILTER_TERMS + 1)), FIELDS)


def test_the_longest_run_of_quotes_is_read_in_linear_time():
    with pytest.raises(InvalidInput):
        conditions("name eq " + "'" * (MAX_FILTER_LENGTH - 9), FIELDS)
