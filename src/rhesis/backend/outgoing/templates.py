"""Request templates: a JSON value whose text leaves are Jinja expressions.

The body is built as a value and serialised afterwards, so whatever a prompt holds ends up inside one string: it cannot
add a key. Jinja's sandbox stops neither `'a' * 10**9` nor a nested loop, so at save the syntax tree is checked against
a short list of what is allowed, and rendering pays for every character from a budget.
"""

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final
from urllib.parse import quote

from jinja2 import TemplateError, nodes, pass_context
from jinja2.environment import Template, TemplateExpression
from jinja2.runtime import Context, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

from rhesis.backend.domain.text import clean_text
from rhesis.backend.errors import InvalidInput

MAX_TEMPLATE_BYTES: Final = 65_536
MAX_RESULT_BYTES: Final = 2_097_152
MAX_TEMPLATE_DEPTH: Final = 32
MAX_SYNTAX_DEPTH: Final = 32
VARIABLES: Final = frozenset({"input", "auth_token", "test"})
_MOST_CHARACTERS_HANDLED: Final = 4 * MAX_RESULT_BYTES
_BUDGET: Final = "_budget"
_MARKS: Final = ("{{", "{%", "{#")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_ALLOWED_NODES: Final = (
    nodes.Template,
    nodes.Output,
    nodes.TemplateData,
    nodes.Const,
    nodes.Name,
    nodes.Getattr,
    nodes.Getitem,
    nodes.If,
    nodes.CondExpr,
    nodes.Filter,
)


class TemplateRefused(InvalidInput):
    """The template cannot be used."""

    code = "invalid_template"


class _Missing(Undefined):
    """Something the test does not have: false in a condition, an error in the output."""

    def __str__(self) -> str:
        raise self._undefined_exception(self._undefined_message)

    def __len__(self) -> int:
        raise self._undefined_exception(self._undefined_message)

    def __bool__(self) -> bool:
        return False


class _Budget:
    """How many characters one rendering may still handle."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = _MOST_CHARACTERS_HANDLED

    def pay(self, value: object) -> None:
        if isinstance(value, str):
            self.left -= len(value)
        if self.left < 0:
            raise TemplateRefused(f"the template makes more than {MAX_RESULT_BYTES} bytes of this test")


class _Environment(ImmutableSandboxedEnvironment):
    """Attribute and item access read keys of mappings and items of lists, never attributes of Python objects."""

    def getattr(self, obj: Any, attribute: str) -> Any:
        return self.getitem(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        if isinstance(obj, Mapping) and isinstance(argument, str) and argument in obj:
            return obj[argument]
        if isinstance(obj, list) and isinstance(argument, int) and -len(obj) <= argument < len(obj):
            return obj[argument]
        return self.undefined(hint=f"it has no {argument!r}")


def _to_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _default(value: Any, otherwise: Any = "") -> Any:
    return otherwise if isinstance(value, Undefined) or value is None else value


_FILTERS: Final[dict[str, Callable[..., Any]]] = {
    "tojson": _to_json,
    "default": _default,
    "upper": lambda value: str(value).upper(),
    "lower": lambda value: str(value).lower(),
    "trim": lambda value: str(value).strip(),
    "length": len,
    "urlencode": lambda value: quote(str(value), safe=""),
}


def _paid(function: Callable[..., Any]) -> Callable[..., Any]:
    @pass_context
    def apply(context: Context, value: Any, *arguments: Any) -> Any:
        budget: _Budget = context[_BUDGET]
        budget.pay(value)
        result = function(value, *arguments)
        budget.pay(result)
        return result

    return apply


def _environment() -> _Environment:
    environment = _Environment(undefined=_Missing, autoescape=False, cache_size=0, keep_trailing_newline=True)
    environment.globals.clear()
    environment.tests.clear()
    environment.filters = {name: _paid(function) for name, function in _FILTERS.items()}
    return environment


_ENVIRONMENT: Final = _environment()


@dataclass(frozen=True)
class _Leaf:
    """A compiled text leaf: `expression` when the leaf is one expression and nothing else, `template` otherwise."""

    template: Template
    expression: TemplateExpression | None
    literal_texts: tuple[str, ...]

    def render(self, variables: Mapping[str, Any]) -> Any:
        if self.expression is not None:
            value = self.expression(**variables)
            if isinstance(value, Undefined):
                str(value)
            return value
        return self._text(variables)

    def _text(self, variables: Mapping[str, Any]) -> str:
        budget: _Budget = variables[_BUDGET]
        pieces: list[str] = []
        for piece in self.template.generate(**variables):
            budget.pay(piece)
            pieces.append(piece)
        return "".join(pieces)


@lru_cache(maxsize=256)
def _compiled(source: str) -> _Leaf:
    try:
        tree = _ENVIRONMENT.parse(source)
        _check_node(tree, depth=0)
        template = _ENVIRONMENT.from_string(tree)
    except TemplateRefused:
        raise
    except TemplateError as error:
        raise TemplateRefused(f"the template {_shown(source)} cannot be read: {error.message}") from error
    except (RecursionError, SyntaxError, ValueError, MemoryError) as error:
        raise TemplateRefused(f"the template {_shown(source)} is nested too deeply") from error
    return _Leaf(template, _lone_expression(source), _literals(tree))


def _literals(tree: nodes.Template) -> tuple[str, ...]:
    keys = {id(node.arg) for node in tree.find_all(nodes.Getitem)}
    constants = (node.value for node in tree.find_all(nodes.Const) if id(node) not in keys)
    data = (node.data for node in tree.find_all(nodes.TemplateData))
    return tuple(text for text in (*data, *constants) if isinstance(text, str))


def _lone_expression(source: str) -> TemplateExpression | None:
    """Return the expression of a leaf that is nothing but `{{ expression }}`: it keeps its type."""
    tree = _ENVIRONMENT.parse(source)
    match tree.body:
        case [nodes.Output(nodes=[nodes.Expr() as expression])] if not isinstance(expression, nodes.TemplateData):
            assignment = nodes.Assign(nodes.Name("result", "store", lineno=1), expression, lineno=1)
            template = _ENVIRONMENT.from_string(nodes.Template([assignment], lineno=1))
            return TemplateExpression(template, undefined_to_none=False)
    return None


def _check_node(node: nodes.Node, *, depth: int) -> None:
    if depth > MAX_SYNTAX_DEPTH:
        raise TemplateRefused(f"the template is nested more than {MAX_SYNTAX_DEPTH} levels deep")
    if not isinstance(node, _ALLOWED_NODES):
        raise TemplateRefused(
            f"{type(node).__name__.lower()} is not allowed in a template: it may hold text, names, attribute and item "
            f"access, if, and the filters {', '.join(sorted(_FILTERS))}"
        )
    if isinstance(node, nodes.Name) and node.name not in VARIABLES:
        raise TemplateRefused(f"{_shown(node.name)} is not known in a template: use input, auth_token or test")
    if isinstance(node, nodes.Getattr) and node.attr.startswith("_"):
        raise TemplateRefused(f"{_shown(node.attr)} is not allowed in a template: names do not start with _")
    if isinstance(node, nodes.Const) and isinstance(node.value, float) and not math.isfinite(node.value):
        raise TemplateRefused("a number in the template is too large")
    if isinstance(node, nodes.Filter):
        _check_filter(node)
    for child in node.iter_child_nodes():
        _check_node(child, depth=depth + 1)


def _check_filter(node: nodes.Filter) -> None:
    if node.name not in _FILTERS:
        known = ", ".join(sorted(_FILTERS))
        raise TemplateRefused(f"the filter {_shown(node.name)} is not allowed in a template: use one of {known}")
    if node.kwargs or node.dyn_args or node.dyn_kwargs or len(node.args) > (node.name == "default"):
        raise TemplateRefused(f"the filter {node.name} has arguments it does not take")


def _shown(source: str) -> str:
    shortened = source if len(source) <= 40 else source[:40] + "…"  # noqa: PLR2004 - enough to find the place
    return repr(shortened)


def _is_template(text: str) -> bool:
    return any(mark in text for mark in _MARKS)


def _leaves(value: Any, *, depth: int = 0) -> Iterator[str]:
    """Yield every text leaf; raise when the value is not plain JSON or is nested too deeply."""
    if depth > MAX_TEMPLATE_DEPTH:
        raise TemplateRefused(f"the template is nested more than {MAX_TEMPLATE_DEPTH} levels deep")
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str) or _is_template(key):
                raise TemplateRefused(f"the key {_shown(str(key))} is not plain text: only values may be expressions")
            yield from _leaves(item, depth=depth + 1)
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item, depth=depth + 1)


def check_template(value: Any) -> None:
    """Raise `TemplateRefused` with the reason when `value` cannot be used as a body template.

    >>> check_template({"messages": [{"role": "user", "content": "{{ input }}"}]})
    """
    texts = list(_leaves(value))
    try:
        size = len(json.dumps(value, ensure_ascii=False, allow_nan=False).encode())
    except (TypeError, ValueError) as error:
        raise TemplateRefused("the template is not a JSON value") from error
    if size > MAX_TEMPLATE_BYTES:
        raise TemplateRefused(f"the template has {size} bytes, at most {MAX_TEMPLATE_BYTES} are accepted")
    for text in texts:
        _compiled(text)


def render_template(value: Any, variables: Mapping[str, Any]) -> Any:
    """Return `value` with every text leaf rendered; a leaf that is one expression alone becomes that value.

    `variables` may hold `input`, `auth_token` and `test`; one that is missing or None is an error where it is used.

    >>> render_template({"q": "{{ input }}", "n": "{{ test.n }}"}, {"input": 'x", "role": "system', "test": {"n": 3}})
    {'q': 'x", "role": "system', 'n': 3}
    """
    known = {name: variables[name] for name in VARIABLES if variables.get(name) is not None}
    rendered = _rendered(value, known | {_BUDGET: _Budget()})
    try:
        size = len(json.dumps(rendered, ensure_ascii=False, allow_nan=False).encode(errors="replace"))
    except (TypeError, ValueError, RecursionError) as error:
        raise TemplateRefused("the template makes something that is not a JSON value of this test") from error
    if size > MAX_RESULT_BYTES:
        raise TemplateRefused(f"the template makes {size} bytes of this test, at most {MAX_RESULT_BYTES} are sent")
    return rendered


def _rendered(value: Any, variables: Mapping[str, Any]) -> Any:
    if isinstance(value, str):
        return _rendered_text(value, variables)
    if isinstance(value, dict):
        return {key: _rendered(item, variables) for key, item in value.items()}
    if isinstance(value, list):
        return [_rendered(item, variables) for item in value]
    return value


def _rendered_text(source: str, variables: Mapping[str, Any]) -> Any:
    if not _is_template(source):
        return source
    try:
        return _compiled(source).render(variables)
    except TemplateRefused:
        raise
    except TemplateError as error:
        raise TemplateRefused(f"the template {_shown(source)} does not fit this test: {str(error)[:200]}") from error
    except (TypeError, ValueError, RecursionError) as error:
        raise TemplateRefused(f"the template {_shown(source)} does not fit this test") from error


def check_line(source: str) -> None:
    """Raise `TemplateRefused` when `source` cannot be the template of a header's or query parameter's value."""
    if len(source.encode(errors="replace")) > MAX_TEMPLATE_BYTES:
        raise TemplateRefused(f"the value has more than {MAX_TEMPLATE_BYTES} bytes")
    if _CONTROL.search(source):
        raise TemplateRefused("the value holds control characters, such as a line break")
    _compiled(source)


def render_line(source: str, variables: Mapping[str, Any]) -> str:
    """Return a header's or query parameter's value; raise `TemplateRefused` if it would hold a control character."""
    value = render_template(source, variables)
    text = value if isinstance(value, str) else _to_json(value)
    if _CONTROL.search(text):
        raise TemplateRefused(f"the value of {_shown(source)} would hold a control character, such as a line break")
    return clean_text(text)[0]


def literal_texts(source: str) -> tuple[str, ...]:
    """Return the parts of a template that are the same in every rendering; all of it when it cannot be read."""
    if not _is_template(source):
        return (source,)
    try:
        return _compiled(source).literal_texts
    except TemplateRefused:
        return (source,)
