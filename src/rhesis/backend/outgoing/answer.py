"""What a call came to: an answer to judge, or an error to record. Neither holds a secret or an unstorable character."""

import codecs
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from http import HTTPStatus
from typing import Any, Final

from rhesis.backend.domain.text import clean_json, clean_text
from rhesis.backend.errors import InvalidInput
from rhesis.backend.outgoing.client import Reply
from rhesis.backend.outgoing.endpoint import EndpointSpec
from rhesis.backend.outgoing.mapping import map_response, nesting_of, text_of
from rhesis.backend.outgoing.redaction import Redactor

UNSTORABLE_NOTE: Final = "unstorable characters replaced"
NULL_NOTE: Final = "the mapped output is null"
UNDECODABLE_NOTE: Final = "bytes that are not text replaced"
MAX_NESTING: Final = 64
_EXCERPT_CHARACTERS: Final = 500
_DEFAULT_MAPPINGS: Final = {"output": "$.output"}
# Some codecs of Python need quadratic time or are no encodings of text at all.
_CHARSETS: Final = frozenset(
    {
        *("ascii", "big5", "cp1250", "cp1251", "cp1252", "euc_jp", "euc_kr", "gb18030", "gb2312", "gbk"),
        *("iso8859-1", "iso8859-2", "iso8859-5", "iso8859-15", "koi8-r", "shift_jis"),
        *("utf-8", "utf-16", "utf-16-be", "utf-16-le", "utf-32"),
    }
)


class ErrorType(StrEnum):
    """Which kind of failure a call met."""

    HTTP = "http_error"
    NETWORK = "network_error"
    JSON_PARSING = "json_parsing_error"
    UNEXPECTED = "unexpected_error"


@dataclass(frozen=True)
class Answer:
    """What the endpoint said: `output` is judged, `mapped` holds every mapped value, `output` among them.

    `latency_seconds` is the time of the last attempt; `notes` say what was changed to make the answer storable.
    """

    output: str = field(repr=False)
    mapped: Mapping[str, Any] = field(repr=False)
    status_code: int
    latency_seconds: float
    attempts: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class CallError:
    """Why there is no answer. `excerpt` is the beginning of what the endpoint sent instead, if it sent anything."""

    error_type: ErrorType
    message: str
    attempts: int
    status_code: int | None = None
    latency_seconds: float | None = None
    excerpt: str | None = field(default=None, repr=False)

    def as_dict(self) -> dict[str, Any]:
        """Return the error as it is stored in a result."""
        return {
            "error": True,
            "error_type": self.error_type.value,
            "message": self.message,
            "status_code": self.status_code,
            "attempts": self.attempts,
            "excerpt": self.excerpt,
        }


class AnswerUnusable(Exception):
    """A successful reply from which no output can be taken; the text says why."""


@dataclass(frozen=True)
class Finding:
    """What was read from a reply: the mapped values and what had to be changed in them."""

    output: str
    mapped: Mapping[str, Any]
    notes: tuple[str, ...]


def read_reply(reply: Reply, spec: EndpointSpec, redactor: Redactor) -> Finding:
    """Return what the endpoint's mappings find in a successful reply; raise `AnswerUnusable` when it is not there."""
    notes: tuple[str, ...] = ()
    if spec.response_format == "json":
        mapped = _mapped(_parsed(reply.body), spec.response_mappings)
    else:
        text, notes = _decoded(reply)
        mapped = {"output": text}
    if nesting_of(mapped) > MAX_NESTING:
        raise AnswerUnusable(f"the mapped values are nested more than {MAX_NESTING} levels deep")
    storable, changed = clean_json(redactor.value(mapped))
    if changed:
        notes = (*notes, UNSTORABLE_NOTE)
    if storable["output"] is None:
        return Finding("", storable, (*notes, NULL_NOTE))
    return Finding(text_of(storable["output"]), storable, notes)


def excerpt_of(reply: Reply, redactor: Redactor) -> str | None:
    """Return the beginning of a reply for whoever has to find out what went wrong, without secrets; None if empty."""
    text, _ = _decoded(reply)
    redacted = redactor.text(text)
    if reply.is_excerpt:
        # The body was cut before it was redacted, and the part of a secret at the cut is not recognised.
        redacted = redacted[: max(0, len(redacted) - redactor.longest)]
    return clean_text(redacted)[0][:_EXCERPT_CHARACTERS] or None


def status_message(status_code: int) -> str:
    """Return one sentence on a reply whose status is not a 2xx."""
    try:
        named = f"{status_code} {HTTPStatus(status_code).phrase}"
    except ValueError:
        named = str(status_code)
    if status_code // 100 == 3:  # noqa: PLR2004 - the class of the status
        return f"the endpoint answered {named}: redirects are not followed, save the final URL in the endpoint"
    return f"the endpoint answered {named}"


def _parsed(body: bytes) -> Any:
    if not body.strip():
        raise AnswerUnusable("the answer is empty, not JSON")
    try:
        return json.loads(body)
    except json.JSONDecodeError as error:
        raise AnswerUnusable(f"the answer is not JSON: line {error.lineno}, column {error.colno}") from error
    except RecursionError as error:
        raise AnswerUnusable("the answer is nested too deeply to be read as JSON") from error
    except ValueError as error:
        raise AnswerUnusable("the answer is not JSON: it is not text, or holds a number too long to read") from error


def _mapped(document: Any, mappings: Mapping[str, str]) -> dict[str, Any]:
    try:
        mapped = map_response(document, mappings or _DEFAULT_MAPPINGS)
    except InvalidInput as error:
        raise AnswerUnusable(str(error)) from error
    if "output" in mapped:
        return mapped
    if mappings:
        raise AnswerUnusable(f"the answer has no value at {mappings.get('output', '$.output')}, the path of the output")
    return {"output": document}


def _decoded(reply: Reply) -> tuple[str, tuple[str, ...]]:
    encoding = _charset(reply.charset)
    try:
        return reply.body.decode(encoding), ()
    except UnicodeDecodeError:
        return reply.body.decode(encoding, errors="replace"), (UNDECODABLE_NOTE,)


def _charset(name: str | None) -> str:
    try:
        known = codecs.lookup(name or "utf-8").name
    except (LookupError, ValueError):
        return "utf-8"
    return known if known in _CHARSETS else "utf-8"
