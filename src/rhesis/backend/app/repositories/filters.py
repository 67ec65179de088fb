"""Turn a filter that a caller typed into conditions with bound parameters.

Nothing of the text reaches SQL: field names are looked up among those allowed, operators in a table, and literals are
parsed to the column's own type. Anything else is refused with its position.
"""

import math
import operator
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement
from sqlalchemy.orm import InstrumentedAttribute

from rhesis.backend.domain.text import clean_text
from rhesis.backend.errors import InputProblem, InvalidInput

MAX_FILTER_LENGTH = 2000
MAX_FILTER_TERMS = 20
_LARGEST_INTEGER = 2**31 - 1

Column = InstrumentedAttribute[Any]

_TOKEN = re.compile(r"\s*(?:(?P<text>'(?:[^']|'')*')|(?P<mark>[(),])|(?P<word>[^\s(),']+))")
_COMPARISONS: Mapping[str, Callable[[Any, Any], ColumnElement[bool]]] = {
    "eq": operator.eq,
    # A row without a value is not equal to one that is asked for.
    "ne": lambda column, value: column.is_distinct_from(value),
    "gt": operator.gt,
    "ge": operator.ge,
    "lt": operator.lt,
    "le": operator.le,
}
_TEXT_SEARCHES: Mapping[str, Callable[[Any, str], ColumnElement[bool]]] = {
    "contains": lambda column, value: column.contains(value, autoescape=True),
    "startswith": lambda column, value: column.startswith(value, autoescape=True),
}


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    position: int


def conditions(text: str, fields: Mapping[str, Column]) -> list[ColumnElement[bool]]:
    """Return the conditions of a filter; raise `InvalidInput` that names the position of what cannot be understood."""
    if len(text) > MAX_FILTER_LENGTH:
        raise _refused(MAX_FILTER_LENGTH, f"a filter has at most {MAX_FILTER_LENGTH} characters")
    reader = _Reader(text, fields)
    found = [reader.term()]
    while not reader.at_end():
        reader.expect("and")
        found.append(reader.term())
        if len(found) > MAX_FILTER_TERMS:
            raise _refused(reader.position, f"a filter has at most {MAX_FILTER_TERMS} terms")
    return found


class _Reader:
    """Reads terms from left to right."""

    def __init__(self, text: str, fields: Mapping[str, Column]) -> None:
        self._fields = fields
        self._tokens = list(_tokens(text))
        self._next = 0
        self._end = len(text)

    @property
    def position(self) -> int:
        return self._end if self.at_end() else self._tokens[self._next].position

    def at_end(self) -> bool:
        return self._next == len(self._tokens)

    def term(self) -> ColumnElement[bool]:
        first = self._take("a field")
        if first.text in _TEXT_SEARCHES and self._sees("("):
            return self._call(first)
        column = self._column(first)
        sign = self._take("an operator")
        if sign.kind == "word" and sign.text in _COMPARISONS:
            return _compare(column, sign, self._take("a value"))
        if sign.kind == "word" and sign.text in _TEXT_SEARCHES:
            return _search(column, sign, self._take("a value"))
        known = ", ".join([*_COMPARISONS, *_TEXT_SEARCHES])
        raise _refused(sign.position, f"expected one of {known}")

    def expect(self, text: str) -> None:
        token = self._take(text)
        if token.kind == "text" or token.text != text:
            raise _refused(token.position, f"expected {text}")

    def _call(self, function: _Token) -> ColumnElement[bool]:
        self.expect("(")
        column = self._column(self._take("a field"))
        self.expect(",")
        found = _search(column, function, self._take("a value"))
        self.expect(")")
        return found

    def _column(self, token: _Token) -> Column:
        if token.kind != "word" or token.text not in self._fields:
            raise _refused(token.position, f"expected one of the fields {', '.join(sorted(self._fields))}")
        return self._fields[token.text]

    def _sees(self, text: str) -> bool:
        return not self.at_end() and self._tokens[self._next].text == text

    def _take(self, what: str) -> _Token:
        if self.at_end():
            raise _refused(self._end, f"the filter ends where {what} was expected")
        self._next += 1
        return self._tokens[self._next - 1]


def _tokens(text: str) -> Iterator[_Token]:
    position = 0
    end = len(text.rstrip())
    while position < end:
        found = _TOKEN.match(text, position)
        if found is None or found.lastgroup is None:
            start = position + len(text[position:]) - len(text[position:].lstrip())
            raise _refused(start, "a text that begins here has no closing quote")
        yield _Token(found.lastgroup, found.group(found.lastgroup), found.start(found.lastgroup))
        position = found.end()


def _compare(column: Column, sign: _Token, literal: _Token) -> ColumnElement[bool]:
    if literal.kind == "word" and literal.text == "null":
        if sign.text not in ("eq", "ne"):
            raise _refused(literal.position, "null can only be compared with eq and ne")
        return column.is_(None) if sign.text == "eq" else column.is_not(None)
    return _COMPARISONS[sign.text](column, _value(column, literal))


def _search(column: Column, sign: _Token, literal: _Token) -> ColumnElement[bool]:
    if column.type.python_type is not str:
        raise _refused(sign.position, f"{sign.text} needs a text field, {column.key} is none")
    return _TEXT_SEARCHES[sign.text](column, _value(column, literal))


def _value(column: Column, literal: _Token) -> Any:
    kind = column.type.python_type
    if literal.kind == "mark" or (kind is str and literal.kind != "text"):
        raise _refused(literal.position, "expected a text in single quotes" if kind is str else "expected a value")
    text = literal.text[1:-1].replace("''", "'") if literal.kind == "text" else literal.text
    try:
        return _PARSERS[kind](text)
    except (KeyError, ValueError, OverflowError):
        raise _refused(
            literal.position, f"{column.key} needs {_KIND_NAMES.get(kind, 'another kind of value')}"
        ) from None


def _parse_text(text: str) -> str:
    cleaned, changed = clean_text(text)
    if changed:
        raise ValueError(text)
    return cleaned


def _parse_boolean(text: str) -> bool:
    return {"true": True, "false": False}[text]


def _parse_integer(text: str) -> int:
    value = int(text)
    if abs(value) > _LARGEST_INTEGER:
        raise OverflowError(text)
    return value


def _parse_number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def _parse_time(text: str) -> datetime:
    value = datetime.fromisoformat(text)
    if value.tzinfo is None:
        raise ValueError(text)
    return value


_PARSERS: Mapping[type, Callable[[str], Any]] = {
    str: _parse_text,
    bool: _parse_boolean,
    int: _parse_integer,
    float: _parse_number,
    datetime: _parse_time,
    UUID: UUID,
}
_KIND_NAMES: Mapping[type, str] = {
    str: "a text without control character NUL",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    datetime: "a time with its zone, such as 2026-01-31T00:00:00Z",
    UUID: "a UUID",
}


def _refused(position: int, message: str) -> InvalidInput:
    where = f"filter, position {position + 1}"
    return InvalidInput(f"{where}: {message}", code="invalid_filter", problems=(InputProblem(where, message),))
