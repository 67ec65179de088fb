"""Put a prompt to an endpoint and return what came of it, within one time limit and whatever the endpoint does."""

import logging
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from rhesis.backend.domain.text import clean_text
from rhesis.backend.errors import InvalidInput
from rhesis.backend.outgoing.addresses import AddressNotAllowed
from rhesis.backend.outgoing.answer import (
    UNSTORABLE_NOTE,
    Answer,
    AnswerUnusable,
    CallError,
    ErrorType,
    excerpt_of,
    read_reply,
    status_message,
)
from rhesis.backend.outgoing.client import (
    AnswerNotDecodable,
    AnswerTooLarge,
    NetworkLimits,
    OutgoingRequest,
    Reply,
    RequestNotWritable,
    shared_client,
)
from rhesis.backend.outgoing.connections import OutgoingError
from rhesis.backend.outgoing.endpoint import EndpointSpec, build_request, redactor_for
from rhesis.backend.outgoing.redaction import Redactor
from rhesis.backend.outgoing.retrying import RETRIED_STATUSES, Pacing, RetryPolicy, retry_after_seconds

_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True)
class CallLimits:
    """What one call may use: `total_seconds` holds every attempt and every wait between them."""

    total_seconds: float = 300.0
    response_max_bytes: int = 10_485_760
    network: NetworkLimits = field(default_factory=NetworkLimits)
    retry: RetryPolicy = field(default_factory=RetryPolicy)


@dataclass(frozen=True)
class _Outcome:
    """How the last attempt ended: with a reply of any status, or with an error."""

    attempts: int
    latency_seconds: float
    reply: Reply | None = None
    error: OutgoingError | InvalidInput | None = None
    stopped: bool = False

    @property
    def may_retry(self) -> bool:
        if self.reply is not None:
            return self.reply.status_code in RETRIED_STATUSES
        return isinstance(self.error, OutgoingError) and self.error.may_retry


def call_endpoint(
    spec: EndpointSpec,
    *,
    prompt: str,
    test: Mapping[str, Any],
    limits: CallLimits,
    pacing: Pacing | None = None,
) -> Answer | CallError:
    """Put `prompt` to the endpoint and return its answer, or the error that stands for it.

    Never raises for anything that an endpoint, a template or a network does. `test` is what a template may read as
    `test`. The literal values of the endpoint's secrets are replaced by `***` in everything that is returned.
    """
    try:
        return _called(spec, prompt, test, limits, pacing or Pacing())
    except Exception as error:  # noqa: BLE001 - whatever an endpoint provokes must become its test's result
        # The frames alone: an exception's text may hold a part of the request or the answer.
        frames = "".join(traceback.format_tb(error.__traceback__))
        _log.error("call to endpoint %s failed unexpectedly: %s\n%s", spec.id, type(error).__name__, frames)
        return CallError(ErrorType.UNEXPECTED, f"the call failed unexpectedly ({type(error).__name__})", attempts=1)


def _called(
    spec: EndpointSpec, prompt: str, test: Mapping[str, Any], limits: CallLimits, pacing: Pacing
) -> Answer | CallError:
    redactor = redactor_for(spec)
    asked, changed = clean_text(prompt)
    try:
        request = build_request(spec, limits.network.policy, prompt=asked, test=test)
    except InvalidInput as error:
        return CallError(_type_of(error), redactor.text(str(error)), attempts=0)
    found = _result(_send_until_final(request, limits, pacing), spec, redactor)
    if changed and isinstance(found, Answer):
        return replace(found, notes=(*found.notes, f"{UNSTORABLE_NOTE} in the prompt"))
    return found


def _send_until_final(request: OutgoingRequest, limits: CallLimits, pacing: Pacing) -> _Outcome:
    until = pacing.clock() + limits.total_seconds
    attempt = 1
    while True:
        outcome = _attempt(request, attempt, limits, pacing, until)
        if not outcome.may_retry or attempt >= limits.retry.attempts:
            return outcome
        asked_for = retry_after_seconds(outcome.reply.retry_after, pacing.now()) if outcome.reply else None
        wait = limits.retry.wait_seconds(attempt, asked_for, pacing.jitter)
        if pacing.clock() + wait >= until:
            return outcome
        if not pacing.pause(wait):
            return _Outcome(attempt, outcome.latency_seconds, outcome.reply, outcome.error, stopped=True)
        attempt += 1


def _attempt(request: OutgoingRequest, attempt: int, limits: CallLimits, pacing: Pacing, until: float) -> _Outcome:
    begun = pacing.clock()
    reply: Reply | None = None
    failure: OutgoingError | InvalidInput | None = None
    try:
        reply = shared_client(limits.network).send(
            request, seconds=max(0.0, until - begun), max_bytes=limits.response_max_bytes
        )
    except (OutgoingError, InvalidInput) as error:
        failure = error
    return _Outcome(attempt, pacing.clock() - begun, reply, failure)


def _result(outcome: _Outcome, spec: EndpointSpec, redactor: Redactor) -> Answer | CallError:
    if outcome.reply is None:
        error = outcome.error or OutgoingError()
        return _error(outcome, _type_of(error), redactor.text(str(error)))
    reply = outcome.reply
    if not reply.is_success:
        return _error(outcome, ErrorType.HTTP, status_message(reply.status_code), excerpt_of(reply, redactor))
    try:
        finding = read_reply(reply, spec, redactor)
    except AnswerUnusable as error:
        return _error(outcome, ErrorType.JSON_PARSING, redactor.text(str(error)), excerpt_of(reply, redactor))
    return Answer(
        output=finding.output,
        mapped=finding.mapped,
        status_code=reply.status_code,
        latency_seconds=outcome.latency_seconds,
        attempts=outcome.attempts,
        notes=finding.notes,
    )


def _error(outcome: _Outcome, error_type: ErrorType, message: str, excerpt: str | None = None) -> CallError:
    return CallError(
        error_type,
        f"{message} (stopped before the next attempt)" if outcome.stopped else message,
        attempts=outcome.attempts,
        status_code=outcome.reply.status_code if outcome.reply else None,
        latency_seconds=outcome.latency_seconds,
        excerpt=excerpt,
    )


def _type_of(error: OutgoingError | InvalidInput) -> ErrorType:
    if isinstance(error, AnswerTooLarge | AnswerNotDecodable):
        return ErrorType.HTTP
    if isinstance(error, RequestNotWritable):
        return ErrorType.UNEXPECTED
    if isinstance(error, OutgoingError | AddressNotAllowed):
        return ErrorType.NETWORK
    return ErrorType.UNEXPECTED
