"""Read an answer as JSON, once, within bounds that hold for hostile answers.

The whole answer comes from a stranger: it may be ten megabytes of brackets. The number of values is bounded before the
parser allocates them and the depth right after, so that every later walk may recurse. Containers and long strings
become subclasses with a short `repr`: validation libraries put `repr(value)` into each message, and a message that
repeats ten megabytes for each branch of a schema is how linear work becomes quadratic.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

MAX_DOCUMENT_DEPTH = 64
MAX_DOCUMENT_VALUES = 1_000_000
_SHOWN_CHARACTERS = 80


class QuietObject(dict[str, Any]):
    """A JSON object whose `repr` is its size."""

    def __repr__(self) -> str:
        return f"<object of {len(self)} members>"


class QuietArray(list[Any]):
    """A JSON array whose `repr` is its size."""

    def __repr__(self) -> str:
        return f"<array of {len(self)} items>"


class QuietText(str):
    """A long JSON string whose `repr` is its beginning."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"{str(self[:_SHOWN_CHARACTERS])!r}… ({len(self)} characters)"


class DocumentProblem(ValueError):
    """The text is not a JSON document that can be judged."""


@dataclass(frozen=True)
class ParsedDocument:
    """A JSON value, or one sentence that says why there is none."""

    value: Any = None
    problem: str | None = None


def parse_document(text: str) -> ParsedDocument:
    """Parse `text` as strict JSON; NaN, Infinity, more than 64 levels and more than a million values are problems."""
    if text.count(",") + text.count("[") + text.count("{") > MAX_DOCUMENT_VALUES:
        return ParsedDocument(problem=f"it may hold more than {MAX_DOCUMENT_VALUES} JSON values")
    try:
        return ParsedDocument(quiet(json.loads(text, parse_constant=_refuse_constant)))
    except json.JSONDecodeError as error:
        return ParsedDocument(problem=f"{error.msg} at line {error.lineno} column {error.colno}")
    except RecursionError:
        return ParsedDocument(problem=f"it is nested more than {MAX_DOCUMENT_DEPTH} levels deep")
    except DocumentProblem as error:
        return ParsedDocument(problem=str(error))
    except ValueError:
        return ParsedDocument(problem="a number has too many digits")


def document_from(value: Mapping[str, Any]) -> ParsedDocument:
    """Take an already parsed mapping as a document, under the same depth limit."""
    try:
        return ParsedDocument(quiet(dict(value)))
    except DocumentProblem as error:
        return ParsedDocument(problem=str(error))


def quiet(value: Any, depth: int = 0) -> Any:
    """Return `value` with containers and long strings that have a short `repr`."""
    if depth > MAX_DOCUMENT_DEPTH:
        raise DocumentProblem(f"it is nested more than {MAX_DOCUMENT_DEPTH} levels deep")
    if isinstance(value, str):
        return QuietText(value) if len(value) > _SHOWN_CHARACTERS else value
    if isinstance(value, Mapping):
        return QuietObject((str(key), quiet(item, depth + 1)) for key, item in value.items())
    if isinstance(value, list | tuple):
        return QuietArray(quiet(item, depth + 1) for item in value)
    return value


def equal_json(left: Any, right: Any) -> bool:
    """Compare as JSON does: 1 equals 1.0, true does not equal 1."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(equal_json(item, right[key]) for key, item in left.items())
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(equal_json, left, right))
    return bool(left == right)


def shown(value: Any) -> str:
    """Return one short line that shows `value` in a reason."""
    return repr(quiet(value))


def _refuse_constant(constant: str) -> NoReturn:
    raise DocumentProblem(f"{constant} is not JSON")
