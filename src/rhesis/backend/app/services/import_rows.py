"""Check one row of an imported file, whichever format it came in."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

from rhesis.backend.app.schemas import limits as field_limits
from rhesis.backend.domain.text import clean_json, clean_text
from rhesis.backend.errors import InvalidInput
from rhesis.backend.metrics.registry import check_definitions

COLUMNS: Final = ("id", "prompt", "expected_response", "behaviour", "metrics", "priority", "language_code")
_LANGUAGE_CODE: Final = re.compile(field_limits.LANGUAGE_CODE_PATTERN)
_WHOLE_NUMBER: Final = re.compile(r"\s*[+-]?[0-9]{1,18}\s*", re.ASCII)
# Longer metric lists are checked each time: what is remembered must not grow with the file.
_REMEMBERED_CHARACTERS: Final = 4_096


@dataclass(frozen=True)
class ImportLimits:
    """What an installation accepts in one file."""

    prompt_max_bytes: int
    max_rows: int


@dataclass(frozen=True)
class Row:
    """One test. `number` counts the file's rows from 1, a CSV header and empty rows included, as a spreadsheet does."""

    number: int
    prompt: str
    external_id: str | None = None
    expected_response: str | None = None
    behaviour: str | None = None
    metrics: list[Any] = field(default_factory=list)
    priority: int = 0
    language_code: str | None = None
    replaced: bool = False


@dataclass(frozen=True)
class RowError:
    """Everything that is wrong with one row, in one line."""

    number: int
    message: str


def read_row(number: int, values: Mapping[str, Any], limits: ImportLimits) -> Row | RowError:
    """Return the row as a test, or what is wrong with it.

    Values are strings, and for `metrics` and `priority` also the list and the whole number that JSON can hold.
    Characters that cannot be stored become U+FFFD and mark the row as `replaced`.
    """
    reader = _RowReader(values, limits.prompt_max_bytes)
    row = Row(
        number=number,
        prompt=reader.prompt(),
        external_id=reader.text("id", field_limits.MAX_EXTERNAL_ID_LENGTH),
        expected_response=reader.long_text("expected_response"),
        behaviour=reader.text("behaviour", field_limits.MAX_BEHAVIOUR_LENGTH),
        metrics=reader.metrics(),
        priority=reader.priority(),
        language_code=reader.language_code(),
        replaced=reader.replaced,
    )
    return RowError(number, "; ".join(reader.problems)) if reader.problems else row


class _RowReader:
    """Hand out the values of one row and gather what is wrong with them."""

    def __init__(self, values: Mapping[str, Any], max_bytes: int) -> None:
        self._values = values
        self._max_bytes = max_bytes
        self.problems: list[str] = []
        self.replaced = False

    def prompt(self) -> str:
        prompt = self.long_text("prompt")
        if (prompt is None or not prompt.strip()) and not self.problems:
            self.problems.append("prompt is empty")
        return prompt or ""

    def long_text(self, name: str) -> str | None:
        text = self._storable(name)
        if text is not None and len(text) * 4 > self._max_bytes:
            size = len(text.encode())
            if size > self._max_bytes:
                self.problems.append(f"{name} has {size} bytes, at most {self._max_bytes} are accepted")
        return text

    def text(self, name: str, max_length: int) -> str | None:
        text = self._storable(name)
        if text is not None and len(text) > max_length:
            self.problems.append(f"{name} has {len(text)} characters, at most {max_length} are accepted")
        return text

    def language_code(self) -> str | None:
        text = self._storable("language_code")
        if text is not None and not _LANGUAGE_CODE.fullmatch(text):
            self.problems.append("language_code is not like en or pt-BR")
        return text

    def priority(self) -> int:
        value = self._values.get("priority")
        if value is None or value == "":
            return 0
        if isinstance(value, str) and _WHOLE_NUMBER.fullmatch(value):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or abs(value) > field_limits.MAX_PRIORITY:
            limit = field_limits.MAX_PRIORITY
            self.problems.append(f"priority is not a whole number from -{limit} to {limit}")
            return 0
        return value

    def metrics(self) -> list[Any]:
        value = self._values.get("metrics")
        if value is None or value in ("", []):
            return []
        text = value if isinstance(value, str) else json.dumps(value)
        check = _remembered_metrics if len(text) <= _REMEMBERED_CHARACTERS else _checked_metrics
        try:
            definitions, replaced = check(text)
        except InvalidInput as error:
            self.problems.append(_one_line(error))
            return []
        self.replaced = self.replaced or replaced
        return definitions

    def _storable(self, name: str) -> str | None:
        value = self._values.get(name)
        if value is None or value == "":
            return None
        if not isinstance(value, str):
            self.problems.append(f"{name} is not a text")
            return None
        cleaned, replaced = clean_text(value)
        self.replaced = self.replaced or replaced
        return cleaned


def _checked_metrics(text: str) -> tuple[list[Any], bool]:
    try:
        parsed = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise InvalidInput("metrics is not JSON") from error
    if not isinstance(parsed, list):
        raise InvalidInput("metrics is not a JSON list")
    cleaned, replaced = clean_json(parsed)
    check_definitions(cleaned)
    return cleaned, replaced


_remembered_metrics: Final[Callable[[str], tuple[list[Any], bool]]] = lru_cache(maxsize=256)(_checked_metrics)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _one_line(error: InvalidInput) -> str:
    details = " ".join(f"{problem.where}: {problem.message}" for problem in error.problems[:3])
    return f"{error} {details}".strip() if details else str(error)
