"""Find values in an endpoint's JSON answer by JSONPath (RFC 9535), in bounded time.

Both the path and the document come from outside, and a filter inside a descent can cost the square or the cube of the
document. So every visited node, comparison and pattern match is paid for from one budget, patterns run on RE2, and a
descent goes at most 64 levels deep. A plain path (`$.choices[0].message.content`) is free, however large the document.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import Any, Final

from jsonpath import JSONPath, JSONPathEnvironment, JSONPathMatch
from jsonpath.exceptions import JSONPathError
from jsonpath.filter import BaseExpression, RelativeFilterQuery, RootFilterQuery, StringLiteral
from jsonpath.function_extensions import ExpressionType, FilterFunction
from jsonpath.parse import Parser
from jsonpath.stream import TokenStream
from jsonpath.token import Token

from rhesis.backend.errors import InvalidInput
from rhesis.backend.outgoing.patterns import compile_pattern

MAX_PATH_LENGTH: Final = 1_000
MAX_DEPTH: Final = 64
MAX_NODES: Final = 10_000
MAX_MAPPINGS: Final = 50
_SHOWN_LENGTH: Final = 80
_CHILDREN_PER_UNIT: Final = 100
_CHARACTERS_PER_UNIT: Final = 1_000
_MATCHING_STEPS_PER_UNIT: Final = 50_000


class _BudgetSpent(Exception):
    """The path visits more than it may."""


class _Budget:
    """What one evaluation may still visit."""

    __slots__ = ("left",)

    def __init__(self, units: int) -> None:
        self.left = units

    def pay(self, units: int) -> None:
        self.left -= units
        if self.left < 0:
            raise _BudgetSpent


_budget: ContextVar[_Budget | None] = ContextVar("jsonpath_budget", default=None)


def _pay(units: int = 1) -> None:
    budget = _budget.get()
    if budget is not None:
        budget.pay(units)


def _pay_for(value: object) -> None:
    """Pay for looking at `value` itself: its characters, or the children that a selector will pass over."""
    if isinstance(value, str):
        _pay(1 + len(value) // _CHARACTERS_PER_UNIT)
    elif isinstance(value, dict | list):
        _pay(1 + len(value) // _CHILDREN_PER_UNIT)
    else:
        _pay()


def _pay_for_all_of(value: object) -> None:
    """Pay for everything below `value`, as a comparison of two containers looks at it."""
    pending = [value]
    while pending:
        item = pending.pop()
        _pay_for(item)
        if isinstance(item, dict):
            pending.extend(item.values())
        elif isinstance(item, list):
            pending.extend(item)


class _Node(JSONPathMatch):
    """A visited node. It keeps no path: copying long keys down a deep document costs more than the document."""

    __slots__ = ()

    def __init__(self, *, obj: object, root: Any) -> None:
        _pay_for(obj)
        super().__init__(filter_context={}, obj=obj, parent=None, path="", parts=(), root=root)

    def new_child(self, obj: object, key: int | str) -> "_Node":  # noqa: ARG002 - the signature is the library's
        return _Node(obj=obj, root=self.root)

    def add_child(self, *children: JSONPathMatch) -> None:
        """Forget the children: nobody asks for them and they would keep every visited node alive."""


class _Path(JSONPath):
    """A path whose nodes are counted, and which never parses a text document as JSON."""

    __slots__ = ()

    def finditer(self, data: Any, *, filter_context: Mapping[str, Any] | None = None) -> Iterable[JSONPathMatch]:  # noqa: ARG002
        nodes: Iterable[JSONPathMatch] = [_Node(obj=data, root=data)]
        for segment in self.segments:
            nodes = segment.resolve(nodes)
        return nodes


class _Parser(Parser):
    """The library's parser, with the paths inside filters counted like the path around them."""

    def parse_absolute_query(self, stream: TokenStream) -> BaseExpression:
        stream.next()
        return RootFilterQuery(_Path(env=self.env, segments=self.parse_query(stream)))

    def parse_relative_query(self, stream: TokenStream) -> BaseExpression:
        stream.next()
        return RelativeFilterQuery(_Path(env=self.env, segments=self.parse_query(stream)))


class _PatternFunction(FilterFunction):
    """`match()` (`whole`) and `search()` on RE2; a pattern that cannot be used matches nothing, as RFC 9535 says."""

    arg_types = [ExpressionType.VALUE, ExpressionType.VALUE]  # noqa: RUF012 - declared so by the library
    return_type = ExpressionType.LOGICAL

    def __init__(self, *, whole: bool) -> None:
        self._whole = whole

    def __call__(self, value: object, pattern: object) -> bool:
        if not isinstance(value, str) or not isinstance(pattern, str):
            return False
        _pay_for(value)
        try:
            compiled = compile_pattern(pattern)
            _pay(compiled.steps_for(value) // _MATCHING_STEPS_PER_UNIT)
            found = compiled.fullmatch(value) if self._whole else compiled.search(value)
        except InvalidInput:
            return False
        return found is not None


class _Environment(JSONPathEnvironment):
    """RFC 9535 and nothing more: no regex literals, no unions, no functions of the library's own."""

    parser_class = _Parser
    max_recursion_depth = MAX_DEPTH

    def setup_function_extensions(self) -> None:
        super().setup_function_extensions()
        self.function_extensions["match"] = _PatternFunction(whole=True)
        self.function_extensions["search"] = _PatternFunction(whole=False)

    def validate_function_extension_signature(self, token: Token, args: list[Any]) -> list[Any]:
        checked = super().validate_function_extension_signature(token, args)
        if token.value in {"match", "search"} and isinstance(checked[1], StringLiteral):
            compile_pattern(checked[1].value)
        return checked

    def is_truthy(self, obj: object) -> bool:
        _pay()
        return super().is_truthy(obj)

    def compare(self, left: object, operator: str, right: object) -> bool:
        if isinstance(left, dict | list) and isinstance(right, dict | list):
            _pay_for_all_of(left)
        elif isinstance(left, str) and isinstance(right, str):
            _pay_for(min(left, right, key=len))
        return super().compare(left, operator, right)


_ENVIRONMENT: Final = _Environment(strict=True)


@lru_cache(maxsize=512)
def _compiled(path: str) -> _Path:
    if len(path) > MAX_PATH_LENGTH:
        raise _invalid(path, f"it has {len(path)} characters, at most {MAX_PATH_LENGTH} are accepted")
    if not path.startswith("$"):
        raise _invalid(path, "a path starts with $, as in $.choices[0].message.content")
    try:
        parsed = _ENVIRONMENT.compile(path)
    except InvalidInput as error:
        raise _invalid(path, str(error)) from error
    except (JSONPathError, RecursionError, ValueError, ArithmeticError) as error:
        raise _invalid(path, str(error).splitlines()[0] if str(error) else "it is not valid") from error
    if not isinstance(parsed, JSONPath):
        raise _invalid(path, "unions and intersections are not part of RFC 9535")
    return _Path(env=_ENVIRONMENT, segments=parsed.segments)


def _invalid(path: str, reason: str) -> InvalidInput:
    return InvalidInput(f"the JSON path {_shown(path)} cannot be used: {reason}", code="invalid_json_path")


def _shown(path: str) -> str:
    return repr(path if len(path) <= _SHOWN_LENGTH else path[:_SHOWN_LENGTH] + "…")


def check_jsonpath(path: str) -> None:
    """Raise `InvalidInput` (code `invalid_json_path`) with the reason when `path` cannot be evaluated.

    Meant for the moment a path is saved: patterns inside `match()` and `search()` are compiled as well.
    """
    _compiled(path)


@contextmanager
def _spending(units: int | None) -> Iterator[None]:
    token = _budget.set(None if units is None else _Budget(units))
    try:
        yield
    finally:
        _budget.reset(token)


def extract(document: Any, path: str) -> list[Any]:
    """Return every value that `path` finds in `document` (parsed JSON), in document order; an empty list if none.

    Raise `InvalidInput`: code `invalid_json_path` for a path that cannot be evaluated, `json_path_too_expensive` when
    it visits more than 10,000 nodes or descends more than 64 levels.

    >>> extract({"items": [{"id": 1}, {"id": 2}]}, "$.items[?@.id > 1].id")
    [2]
    """
    compiled = _compiled(path)
    try:
        with _spending(None if compiled.singular_query() else MAX_NODES):
            return [node.obj for node in compiled.finditer(document)]
    except (_BudgetSpent, JSONPathError, RecursionError) as error:
        raise InvalidInput(
            f"the JSON path {_shown(path)} visits more than {MAX_NODES} nodes or {MAX_DEPTH} levels of this document: "
            "make it more exact",
            code="json_path_too_expensive",
        ) from error


def check_mappings(mappings: Mapping[str, str]) -> None:
    """Raise `InvalidInput` when a response mapping (name to JSON path) cannot be used."""
    if len(mappings) > MAX_MAPPINGS:
        raise InvalidInput(f"{len(mappings)} response mappings, at most {MAX_MAPPINGS} are accepted")
    for path in mappings.values():
        check_jsonpath(path)


def map_response(document: Any, mappings: Mapping[str, str]) -> dict[str, Any]:
    """Return for each mapped name what its path finds: the value, a list when several match, no entry when none does.

    >>> map_response({"text": "hi", "tags": [1, 2]}, {"output": "$.text", "all": "$.tags[*]", "none": "$.x"})
    {'output': 'hi', 'all': [1, 2]}
    """
    mapped: dict[str, Any] = {}
    for name, path in mappings.items():
        found = extract(document, path)
        if found:
            mapped[name] = found[0] if len(found) == 1 else found
    return mapped


def text_of(value: Any) -> str:
    """Return a mapped value as the text that metrics see: strings as they are, anything else as compact JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def nesting_of(value: Any) -> int:
    """Return how many levels of lists and objects lie within `value`: 0 for a plain value. Never recursive."""
    depth = 0
    level: Sequence[Any] = [value]
    while True:
        containers = [item for item in level if isinstance(item, dict | list)]
        if not containers:
            return depth
        depth += 1
        level = [child for item in containers for child in (item.values() if isinstance(item, dict) else item)]
