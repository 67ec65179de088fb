"""Read tests from a CSV or JSONL file as it arrives, in memory that does not grow with the file.

Both parsers take the file as chunks of bytes and yield one `Row` or `RowError` for each row. What cannot be recovered
from, such as an unknown column or a quotation mark that is never closed, is the last thing they yield.
"""

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from rhesis.backend.app.services.import_rows import COLUMNS, ImportLimits, Row, RowError, read_row

__all__ = ["COLUMNS", "ImportLimits", "Row", "RowError", "parse_csv", "parse_jsonl"]

_READ_BYTES: Final = 64 * 1024
_SMALLEST_FIELD_LIMIT: Final = 128 * 1024
_SHOWN_CHARACTERS: Final = 60
# Bytes that are not UTF-8 reach us as these characters, so that the row they stand in can be named.
_NOT_UTF8: Final = re.compile("[\udc80-\udcff]")
_NOT_UTF8_PROBLEM: Final = "bytes that are not UTF-8; save the file as UTF-8"


@dataclass(frozen=True)
class _Record:
    """The values of one row before they are checked, or why there are none; nothing follows a `fatal` one."""

    number: int
    values: dict[str, Any] | None = None
    problem: str = ""
    fatal: bool = False


class _LineTooLong(Exception):
    """A physical line is longer than any row may be."""


def parse_csv(chunks: Iterable[bytes], limits: ImportLimits) -> Iterator[Row | RowError]:
    """Parse comma-separated UTF-8 with a header row of `COLUMNS`, in any order; `prompt` is the only one required.

    A byte order mark, CRLF and quoted line breaks are understood.
    """
    return _checked(_csv_records(chunks, limits), limits)


def parse_jsonl(chunks: Iterable[bytes], limits: ImportLimits) -> Iterator[Row | RowError]:
    """Parse one JSON object a line, its keys being `COLUMNS`; empty lines are passed over."""
    return _checked(_jsonl_records(chunks, limits), limits)


def _checked(records: Iterable[_Record], limits: ImportLimits) -> Iterator[Row | RowError]:
    first_rows: dict[str, int] = {}
    count = 0
    for count, record in enumerate(records, start=1):
        if record.values is None:
            yield RowError(record.number, record.problem)
        elif count > limits.max_rows:
            yield RowError(record.number, f"more than {limits.max_rows} tests; split the file, the rest was not read")
        else:
            yield _unique(read_row(record.number, record.values, limits), first_rows)
        if record.fatal or count > limits.max_rows:
            return
    if count == 0:
        yield RowError(1, "the file holds no tests")


def _unique(row: Row | RowError, first_rows: dict[str, int]) -> Row | RowError:
    if isinstance(row, RowError) or row.external_id is None:
        return row
    first = first_rows.setdefault(row.external_id, row.number)
    if first == row.number:
        return row
    return RowError(row.number, f"id {_shown(row.external_id)} is already the id of row {first}")


def _csv_records(chunks: Iterable[bytes], limits: ImportLimits) -> Iterator[_Record]:
    # The limit is the whole process's; every import sets the same one, from the settings.
    csv.field_size_limit(max(limits.prompt_max_bytes, _SMALLEST_FIELD_LIMIT))
    columns: list[str] | None = None
    for number, cells in _csv_rows(chunks, limits):
        if isinstance(cells, _Record):
            yield cells
        elif not cells:
            continue
        elif any(map(_NOT_UTF8.search, cells)):
            yield _Record(number, problem=_NOT_UTF8_PROBLEM, fatal=columns is None)
        elif columns is None:
            columns = [cell.strip().casefold() for cell in cells]
            if problem := _header_problem(columns):
                yield _Record(number, problem=problem, fatal=True)
        elif len(cells) != len(columns):
            yield _Record(number, problem=f"{len(cells)} cells, the header has {len(columns)}")
        else:
            yield _Record(number, dict(zip(columns, cells, strict=True)))


def _csv_rows(chunks: Iterable[bytes], limits: ImportLimits) -> Iterator[tuple[int, list[str] | _Record]]:
    """Yield each row's number and cells; a malformed row is a record that says so."""
    reader = csv.reader(_bounded_lines(chunks, _longest_line(limits)), strict=True)
    number = 0
    while True:
        number += 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except _LineTooLong:
            yield number, _Record(number, problem=_too_long_problem(limits), fatal=True)
            return
        except csv.Error as error:
            fatal = "field limit" in str(error)
            yield number, _Record(number, problem=_csv_problem(str(error), limits), fatal=fatal)
        else:
            yield number, cells


def _csv_problem(message: str, limits: ImportLimits) -> str:
    if "field limit" in message:
        return _too_long_problem(limits)
    if "unexpected end of data" in message:
        return "the file ends inside a quoted cell; is a quotation mark left open?"
    return f"not valid CSV: {message}"


def _too_long_problem(limits: ImportLimits) -> str:
    return (
        f"a cell has more than {limits.prompt_max_bytes} bytes, or a quotation mark is left open; "
        "the rest of the file was not read"
    )


def _header_problem(columns: list[str]) -> str:
    known = ", ".join(COLUMNS)
    unknown = [column for column in columns if column not in COLUMNS]
    if unknown:
        return f"unknown column {_shown(unknown[0])}; known are {known}, separated by commas"
    twice = sorted({column for column in columns if columns.count(column) > 1})
    if twice:
        return f"column {twice[0]} stands twice"
    return "" if "prompt" in columns else f"column prompt is missing; known are {known}"


def _jsonl_records(chunks: Iterable[bytes], limits: ImportLimits) -> Iterator[_Record]:
    for number, line in enumerate(_json_lines(chunks, _longest_line(limits)), start=1):
        if line is None:
            yield _Record(number, problem=f"the line is longer than {_longest_line(limits)} characters")
        elif line.isspace():
            continue
        elif _NOT_UTF8.search(line):
            yield _Record(number, problem=_NOT_UTF8_PROBLEM)
        else:
            yield _json_record(number, line)


def _json_record(number: int, line: str) -> _Record:
    try:
        values = json.loads(line, parse_constant=_refuse_constant)
    except RecursionError:
        return _Record(number, problem="JSON nested too deeply")
    except ValueError as error:
        return _Record(number, problem=f"not valid JSON: {error}")
    if not isinstance(values, dict):
        return _Record(number, problem="not a JSON object")
    unknown = [key for key in values if key not in COLUMNS]
    if unknown:
        return _Record(number, problem=f"unknown key {_shown(unknown[0])}; known are {', '.join(COLUMNS)}")
    return _Record(number, values)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


class _ChunkReader(io.RawIOBase):
    """Chunks of bytes as a file."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._rest = memoryview(chunk)
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size


def _text(chunks: Iterable[bytes], newline: str) -> io.TextIOWrapper:
    buffered = io.BufferedReader(_ChunkReader(chunks), _READ_BYTES)
    return io.TextIOWrapper(buffered, encoding="utf-8-sig", errors="surrogateescape", newline=newline)


def _longest_line(limits: ImportLimits) -> int:
    # A prompt and an expected response, each character escaped as in JSON's \u0041.
    return 12 * limits.prompt_max_bytes + _SMALLEST_FIELD_LIMIT


def _bounded_lines(chunks: Iterable[bytes], limit: int) -> Iterator[str]:
    text = _text(chunks, newline="")
    while line := text.readline(limit):
        if len(line) == limit and not line.endswith(("\r", "\n")):
            raise _LineTooLong
        yield line


def _json_lines(chunks: Iterable[bytes], limit: int) -> Iterator[str | None]:
    """Yield each line, None for one that is too long."""
    text = _text(chunks, newline="\n")
    while line := text.readline(limit):
        if len(line) < limit or line.endswith("\n"):
            yield line
            continue
        while (rest := text.readline(limit)) and not rest.endswith("\n"):
            pass
        yield None


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…")
