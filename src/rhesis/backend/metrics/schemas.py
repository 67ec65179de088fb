"""JSON Schema for schemas and documents that strangers wrote.

The validation library alone is not safe for either: it matches patterns with Python's backtracking engine, it fetches
remote references, a nested `$schema` swaps its keyword table, and references that fan out cost two to the power of
their depth. So references stay inside the schema, patterns run on RE2, and one budget pays for every keyword visit.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from jsonschema import Draft7Validator, Draft202012Validator, FormatChecker, ValidationError, validators
from jsonschema.exceptions import SchemaError
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT7, DRAFT202012

from rhesis.backend.errors import InputProblem, InvalidInput
from rhesis.backend.metrics.documents import shown
from rhesis.backend.outgoing.patterns import compile_pattern

MAX_SCHEMA_BYTES: Final = 256 * 1024
MAX_SCHEMA_NODES: Final = 10_000
MAX_SCHEMA_DEPTH: Final = 64
MAX_STEPS: Final = 200_000
_CHARACTERS_PER_STEP: Final = 256
_MATCHING_STEPS_PER_STEP: Final = 10_000
_SHOWN_PROBLEM_CHARACTERS: Final = 300

_REFUSED: Final[Mapping[str, str]] = {
    "unevaluatedProperties": "use additionalProperties instead",
    "unevaluatedItems": "use items instead",
    "$recursiveRef": "use $ref instead",
}
_PER_ELEMENT: Final = frozenset(
    {"additionalItems", "additionalProperties", "contains", "items", "patternProperties", "prefixItems"}
    | {"propertyNames", "uniqueItems"}
)


class _BudgetSpent(Exception):
    """The schema needs more work on this document than one answer may cost."""


class _Budget:
    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = MAX_STEPS

    def pay(self, steps: int) -> None:
        self.left -= steps
        if self.left < 0:
            raise _BudgetSpent


_budget: ContextVar[_Budget | None] = ContextVar("json_schema_budget", default=None)
_Errors = Iterator[ValidationError]
_Keyword = Callable[[Any, Any, Any, Any], _Errors | None]


@contextmanager
def _spending() -> Iterator[None]:
    token = _budget.set(_Budget())
    try:
        yield
    finally:
        _budget.reset(token)


def _pay(steps: int = 1) -> None:
    budget = _budget.get()
    if budget is not None:
        budget.pay(steps)


def _matches(pattern: str, text: str) -> bool:
    compiled = compile_pattern(pattern)
    _pay(1 + compiled.steps_for(text) // _MATCHING_STEPS_PER_STEP)
    return compiled.search(text) is not None


def _pattern(_validator: Any, pattern: str, instance: Any, _schema: Any) -> _Errors:
    if isinstance(instance, str) and not _matches(pattern, instance):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


def _pattern_properties(validator: Any, patterns: Any, instance: Any, _schema: Any) -> _Errors:
    if not isinstance(instance, dict):
        return
    for pattern, subschema in patterns.items():
        for key, value in instance.items():
            if _matches(pattern, key):
                yield from validator.descend(value, subschema, path=key, schema_path=pattern)


def _additional_properties(validator: Any, allowed: Any, instance: Any, schema: Any) -> _Errors:
    if not isinstance(instance, dict):
        return
    properties, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    for key, value in instance.items():
        if key in properties or any(_matches(pattern, key) for pattern in patterns):
            continue
        if allowed is False:
            yield ValidationError(f"the property {shown(key)} is not allowed")
        else:
            yield from validator.descend(value, allowed, path=key)


def _unique_items(_validator: Any, wanted: Any, instance: Any, _schema: Any) -> _Errors:
    if not wanted or not isinstance(instance, list):
        return
    seen: set[Any] = set()
    for item in instance:
        key = _hashable(item)
        if key in seen:
            yield ValidationError(f"{instance!r} has equal items")
            return
        seen.add(key)


def _hashable(value: Any) -> tuple[str, Any]:
    """Return a key under which two values are the same exactly when JSON Schema calls them equal."""
    _pay()
    if isinstance(value, dict):
        return "object", frozenset((key, _hashable(item)) for key, item in value.items())
    if isinstance(value, list):
        return "array", tuple(map(_hashable, value))
    if isinstance(value, bool):
        return "boolean", value
    return "text" if isinstance(value, str) else "other", value


def _refused(_validator: Any, _value: Any, _instance: Any, _schema: Any) -> _Errors:
    raise InvalidInput("the schema uses a keyword that is not supported", code="invalid_schema")


def _paid(name: str, keyword: _Keyword) -> _Keyword:
    def check(validator: Any, value: Any, instance: Any, schema: Any) -> _Errors:
        _pay(_price(name, value, instance))
        for error in keyword(validator, value, instance, schema) or ():
            _pay(len(error.message) // _CHARACTERS_PER_STEP)
            yield error

    return check


def _price(name: str, value: Any, instance: Any) -> int:
    price = 1 + (len(value) if isinstance(value, dict | list) else 0)
    if name in _PER_ELEMENT and isinstance(instance, dict | list):
        price += len(instance)
    return price


_OWN_KEYWORDS: Final[Mapping[str, _Keyword]] = {
    "pattern": _pattern,
    "patternProperties": _pattern_properties,
    "additionalProperties": _additional_properties,
    "uniqueItems": _unique_items,
    **dict.fromkeys(_REFUSED, _refused),
}


def _safe_class(stock: Any) -> Any:
    keywords = {**stock.VALIDATORS, **_OWN_KEYWORDS}
    paid = {name: _paid(name, keyword) for name, keyword in keywords.items()}
    return validators.extend(stock, paid)  # type: ignore[no-untyped-call] # the stubs leave it out


@dataclass(frozen=True)
class _Dialect:
    stock: Any
    safe: Any
    specification: Any


_DEFAULT_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_DIALECTS: Final[Mapping[str, _Dialect]] = {
    _DEFAULT_DIALECT: _Dialect(Draft202012Validator, _safe_class(Draft202012Validator), DRAFT202012),
    "http://json-schema.org/draft-07/schema": _Dialect(Draft7Validator, _safe_class(Draft7Validator), DRAFT7),
}


@dataclass(frozen=True)
class SafeSchema:
    """A checked schema that validates in bounded time and never opens a connection."""

    _validator: Any

    def first_problem(self, document: Any) -> str | None:
        """Return one sentence for the first place of `document` that does not fit, or None.

        Raise `InvalidInput` (code `json_schema_too_expensive`) when the schema needs more than 200,000 steps on this
        document, or refers to itself without end.
        """
        try:
            with _spending():
                error = next(self._validator.iter_errors(document), None)
        except (_BudgetSpent, RecursionError) as cause:
            raise InvalidInput(
                f"the schema needs more than {MAX_STEPS} steps on this answer: make it simpler, or the answer shorter",
                code="json_schema_too_expensive",
            ) from cause
        if error is None:
            return None
        return f"At {_shortened(error.json_path)}: {_shortened(error.message)}."


def compile_schema(schema: Any) -> SafeSchema:
    """Return `schema` ready to validate, or raise `InvalidInput` (code `invalid_schema`) with every reason.

    >>> compile_schema({"type": "array", "maxItems": 1}).first_problem([1])
    """
    try:
        text = json.dumps(schema, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise _invalid("it is not JSON of a usable depth") from error
    if len(text) > MAX_SCHEMA_BYTES:
        raise _invalid(f"it has {len(text)} bytes, at most {MAX_SCHEMA_BYTES} are accepted")
    return _compiled(text)


@lru_cache(maxsize=64)
def _compiled(text: str) -> SafeSchema:
    schema = json.loads(text)
    dialect = _DIALECTS[_DEFAULT_DIALECT]
    if isinstance(schema, dict):
        # Without its own identifier the schema cannot pose as another document, and `$schema` would swap the keywords.
        schema.pop("$id", None)
        dialect = _dialect(schema.pop("$schema", _DEFAULT_DIALECT))
    problems = _Walk().problems_of(schema)
    if not problems:
        problems = _dialect_problems(schema, dialect)
    if problems:
        raise _invalid(problems[0].message, problems=tuple(problems[:20]))
    return SafeSchema(dialect.safe(schema, registry=Registry()))


def _dialect(name: Any) -> _Dialect:
    found = _DIALECTS.get(name.removesuffix("#")) if isinstance(name, str) else None
    if found is None:
        raise _invalid(f"$schema must be one of {', '.join(_DIALECTS)}")
    return found


def _dialect_problems(schema: Any, dialect: _Dialect) -> list[InputProblem]:
    try:
        dialect.stock.check_schema(schema, format_checker=FormatChecker(formats=()))
    except SchemaError as error:
        return [InputProblem(_shortened(error.json_path), _shortened(error.message))]
    except RecursionError:
        return [InputProblem("$", "it is nested too deeply")]
    resolver = Registry().resolver_with_root(dialect.specification.create_resource(schema))
    problems = []
    for reference in sorted(_references(schema)):
        try:
            resolver.lookup(reference)
        except (Unresolvable, ValueError, LookupError, TypeError):
            problems.append(InputProblem("$ref", f"the reference {shown(reference)} leads nowhere in this schema"))
    return problems


def _references(schema: Any) -> set[str]:
    found: set[str] = set()
    pending = [schema]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            found |= {item[name] for name in ("$ref", "$dynamicRef") if isinstance(item.get(name), str)}
        pending.extend(item.values() if isinstance(item, dict) else item if isinstance(item, list) else ())
    return found


class _Walk:
    """Look at every place of a schema, also those that only a reference makes a schema."""

    def __init__(self) -> None:
        self._problems: list[InputProblem] = []
        self._nodes = 0

    def problems_of(self, schema: Any) -> list[InputProblem]:
        pending = [(schema, "$", 0)]
        while pending:
            item, where, depth = pending.pop()
            self._nodes += 1
            if self._nodes > MAX_SCHEMA_NODES or depth > MAX_SCHEMA_DEPTH:
                limits = f"{MAX_SCHEMA_NODES} values or {MAX_SCHEMA_DEPTH} levels"
                return [InputProblem("$", f"it has more than {limits}")]
            if isinstance(item, dict):
                self._look_at(item, where)
                pending.extend((value, f"{where}.{_shortened(key)}", depth + 1) for key, value in item.items())
            elif isinstance(item, list):
                pending.extend((value, f"{where}[{index}]", depth + 1) for index, value in enumerate(item))
        return self._problems

    def _look_at(self, item: dict[str, Any], where: str) -> None:
        for name in ("$ref", "$dynamicRef"):
            reference = item.get(name)
            if isinstance(reference, str) and not reference.startswith("#"):
                self._add(f"{where}.{name}", f"{shown(reference)} leads out of the schema; only #/… is followed")
        for name in ("$schema", "$id"):
            if isinstance(item.get(name), str):
                self._add(f"{where}.{name}", f"{name} is accepted at the top of a schema only")
        for name in _REFUSED.keys() & item.keys():
            self._add(f"{where}.{name}", f"{name} is not supported; {_REFUSED[name]}")
        patterns = [item["pattern"]] if isinstance(item.get("pattern"), str) else []
        if isinstance(item.get("patternProperties"), dict):
            patterns.extend(item["patternProperties"])
        for pattern in patterns:
            try:
                compile_pattern(pattern)
            except InvalidInput as error:
                self._add(where, f"{shown(pattern)}: {error}")

    def _add(self, where: str, message: str) -> None:
        self._problems.append(InputProblem(where, message))


def _invalid(reason: str, *, problems: tuple[InputProblem, ...] = ()) -> InvalidInput:
    return InvalidInput(f"the JSON schema cannot be used: {reason}", code="invalid_schema", problems=problems)


def _shortened(text: str) -> str:
    return text if len(text) <= _SHOWN_PROBLEM_CHARACTERS else text[:_SHOWN_PROBLEM_CHARACTERS] + "…"
