"""Keep the checked rows of an import on disk until the whole file is known to be good.

An import is all or nothing, and an upload may take minutes: no transaction and no connection waits for it.
"""

import json
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from typing import IO, Final

from rhesis.backend.app.services.importing import Row, RowError
from rhesis.backend.errors import InputProblem, InvalidInput

_LISTED_PROBLEMS: Final = 100
_LISTED_ROWS: Final = 10
_BUFFER_BYTES: Final = 256 * 1024
_FIELDS: Final = tuple(field.name for field in fields(Row))


@dataclass
class _Tally:
    """What was found while a file was read."""

    rows: int = 0
    problem_count: int = 0
    problems: list[InputProblem] = field(default_factory=list)
    replaced_count: int = 0
    replaced_rows: list[int] = field(default_factory=list)

    def add_problem(self, error: RowError) -> None:
        self.problem_count += 1
        if len(self.problems) < _LISTED_PROBLEMS:
            self.problems.append(InputProblem(f"row {error.number}", error.message))

    def add_row(self, row: Row) -> None:
        self.rows += 1
        if row.replaced:
            self.replaced_count += 1
            if len(self.replaced_rows) < _LISTED_ROWS:
                self.replaced_rows.append(row.number)

    def refuse_problems(self) -> None:
        if not self.problem_count:
            return
        left_out = self.problem_count - len(self.problems)
        more = f"; the first {len(self.problems)} are listed" if left_out else ""
        rows = "1 row cannot" if self.problem_count == 1 else f"{self.problem_count} rows cannot"
        raise InvalidInput(
            f"{rows} be imported, so nothing was{more}", code="import_refused", problems=tuple(self.problems)
        )

    def notes(self) -> tuple[str, ...]:
        if not self.replaced_count:
            return ()
        named = ", ".join(map(str, self.replaced_rows)) + (", …" if self.replaced_count > _LISTED_ROWS else "")
        return (f"{self.replaced_count} rows held characters that cannot be stored, now U+FFFD: rows {named}",)


@dataclass(frozen=True)
class Spool:
    """The rows of a good file, on disk."""

    count: int
    notes: tuple[str, ...]
    _file: IO[str]

    def rows(self) -> Iterator[Row]:
        """Yield the rows in the file's order."""
        self._file.seek(0)
        for line in self._file:
            yield Row(*json.loads(line))


@contextmanager
def spooled(parsed: Iterable[Row | RowError]) -> Iterator[Spool]:
    """Read all rows and keep them until the context ends; raise `InvalidInput` that lists the problems, if any."""
    tally = _Tally()
    with tempfile.TemporaryFile("w+", encoding="utf-8", newline="\n", buffering=_BUFFER_BYTES) as file:
        for row in parsed:
            if isinstance(row, RowError):
                tally.add_problem(row)
                continue
            tally.add_row(row)
            if not tally.problem_count:
                file.write(json.dumps([getattr(row, name) for name in _FIELDS]) + "\n")
        tally.refuse_problems()
        yield Spool(tally.rows, tally.notes(), file)
