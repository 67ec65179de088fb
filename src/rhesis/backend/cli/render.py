"""Print data on stdout, in the form that was asked for."""

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import click

from rhesis.backend.cli.terminal import shortened

_CELL_CHARACTERS = 60


class Output(StrEnum):
    """Forms of a report."""

    TABLE = "table"
    JSON = "json"
    JUNIT = "junit"
    CSV = "csv"


@dataclass(frozen=True)
class Table:
    """Rows under a heading, for people. Numbers stand to the right."""

    columns: Sequence[str]
    rows: Iterable[Sequence[object]]


@dataclass(frozen=True)
class Report:
    """One set of data in every form; only the form that is printed is fetched.

    `json` yields one value, or an iterator whose items become one list, written while they arrive.
    """

    table: Callable[[], Table]
    json: Callable[[], Any]
    junit: Callable[[], Iterable[bytes]]
    csv: Callable[[], Iterable[bytes]]


def output_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the option that chooses the form."""
    return click.option(
        "-o",
        "--output",
        "--format",
        type=click.Choice(list(Output), case_sensitive=False),
        default=Output.TABLE,
        show_default=True,
        help="Form of the output.",
    )(function)


def render(report: Report, output: Output) -> None:
    """Print the report."""
    if output is Output.TABLE:
        for line in table_lines(report.table()):
            click.echo(line)
    elif output is Output.JSON:
        _print_json(report.json())
    else:
        for piece in report.junit() if output is Output.JUNIT else report.csv():
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()


def table_lines(table: Table) -> Iterator[str]:
    """Yield a table's lines, its cells made printable, short and of one width a column.

    >>> list(table_lines(Table(("name", "count"), [("a", 12), ("long", 3)])))
    ['name  count', 'a        12', 'long      3']
    """
    cells = [[_cell(value) for value in row] for row in table.rows]
    numeric = [isinstance(value, int | float) for value in next(iter(table.rows), ())] if cells else []
    widths = [max(map(len, column)) for column in zip(table.columns, *cells, strict=True)]
    for line in [list(table.columns), *cells]:
        padded = [
            cell.rjust(width) if number else cell.ljust(width)
            for cell, width, number in zip(line, widths, numeric or [False] * len(widths), strict=True)
        ]
        yield "  ".join(padded).rstrip()


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.1f}" if isinstance(value, float) else shortened(str(value), _CELL_CHARACTERS)


def _print_json(value: Any) -> None:
    if not isinstance(value, Iterator):
        click.echo(json.dumps(value, indent=2, ensure_ascii=False))
        return
    before = "["
    for item in value:
        click.echo(f"{before}\n{json.dumps(item, ensure_ascii=False)}", nl=False)
        before = ","
    click.echo("[]" if before == "[" else "\n]")
