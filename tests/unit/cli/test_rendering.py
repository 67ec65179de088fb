"""What commands print on stdout."""

import json

import pytest

from rhesis.backend.cli.render import Output, Report, Table, render, table_lines
from rhesis.backend.cli.terminal import printable, shortened


def report(**forms) -> Report:
    unused = lambda: pytest.fail("only the form that is printed is fetched")  # noqa: E731
    return Report(**{"table": unused, "json": unused, "junit": unused, "csv": unused, **forms})


def test_a_table_aligns_numbers_to_the_right():
    lines = list(table_lines(Table(("name", "count"), [("a", 5), ("longer", 1234)])))
    assert lines == ["name    count", "a           5", "longer   1234"]


def test_a_table_without_rows_still_has_its_heading():
    assert list(table_lines(Table(("name", "count"), []))) == ["name  count"]


def test_text_from_a_user_cannot_steer_the_terminal():
    [_, line] = table_lines(Table(("prompt",), [("\x1b[2Jhello\x07\u202e",)]))
    assert line == "\\x1b[2Jhello\\x07\\u202e"


def test_a_long_cell_is_cut_and_says_so():
    [_, line] = table_lines(Table(("prompt",), [("x" * 500,)]))
    assert (len(line), line[-1]) == (60, "…")


def test_a_list_is_printed_as_json_while_it_arrives(capsys):
    render(report(json=lambda: iter([{"a": 1}, {"a": "ü"}])), Output.JSON)
    assert json.loads(capsys.readouterr().out) == [{"a": 1}, {"a": "ü"}]


def test_an_empty_list_is_json_too(capsys):
    render(report(json=lambda: iter([])), Output.JSON)
    assert json.loads(capsys.readouterr().out) == []


@pytest.mark.parametrize("output", [Output.JUNIT, Output.CSV])
def test_files_are_passed_on_byte_by_byte(capsysbinary, output):
    pieces = [b"a,\xff\r\n", b"b"]
    render(report(**{output.value: lambda: pieces}), output)
    assert capsysbinary.readouterr().out == b"a,\xff\r\nb"


def test_what_cannot_be_printed_is_shown_by_its_number():
    assert printable("tab\t\ud800") == "tab\\t\\ud800"


def test_a_shortened_text_stands_on_one_line():
    assert shortened("one\n two\tthree", 50) == "one two three"
