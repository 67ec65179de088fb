"""Errors as answers: one shape for all of them, `application/problem+json`.

What a caller may read is decided here. Messages of `RhesisError` are written for callers; those of the database and
of anything unexpected are not, so they stay in the log.
"""

import re
import traceback
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from itertools import islice
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from sqlalchemy.exc import DataError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException

from rhesis.backend.app.schemas.common import ErrorDetail, Problem
from rhesis.backend.domain.text import clean_text
from rhesis.backend.errors import (
    ConfigurationError,
    Conflict,
    DatabaseUnavailable,
    EmbeddedServerError,
    Forbidden,
    InvalidInput,
    NotFound,
    RhesisError,
    SecretKeyError,
    TenantMismatch,
    Unauthenticated,
)

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = 5
_MAX_ERRORS = 100
_MAX_FRAMES = 20
_MAX_WHERE = 200
_MAX_MESSAGE = 1000

_NO_LETTERS = re.compile("[^a-z]+")

_log = structlog.get_logger(__name__)

_STATUS: Mapping[type[RhesisError], HTTPStatus] = {
    InvalidInput: HTTPStatus.UNPROCESSABLE_ENTITY,
    NotFound: HTTPStatus.NOT_FOUND,
    TenantMismatch: HTTPStatus.NOT_FOUND,
    Forbidden: HTTPStatus.FORBIDDEN,
    Conflict: HTTPStatus.CONFLICT,
    Unauthenticated: HTTPStatus.UNAUTHORIZED,
    DatabaseUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    EmbeddedServerError: HTTPStatus.SERVICE_UNAVAILABLE,
    SecretKeyError: HTTPStatus.SERVICE_UNAVAILABLE,
    ConfigurationError: HTTPStatus.INTERNAL_SERVER_ERROR,
}
# Errors of the layers beside this one, which it cannot import.
_STATUS_OF_CODE: Mapping[str, HTTPStatus] = {"dispatch_failed": HTTPStatus.SERVICE_UNAVAILABLE}
# These name servers, databases and variables of the installation, which is nobody's business outside.
_DETAIL_OF: Mapping[type[RhesisError], str] = {
    DatabaseUnavailable: "The database cannot be used now; try again later.",
    EmbeddedServerError: "The database cannot be used now; try again later.",
    ConfigurationError: "The service is not set up for this; its log says what is missing.",
    TenantMismatch: "No such object in this organization.",
}
_CONSTRAINTS: Mapping[str, str] = {
    "user_email_key": "A user with this e-mail address exists already.",
    "test_set_slug_key": "A test set with this name exists already.",
    "test_run_task_id_key": "A run with this task id exists already.",
    "test_result_run_test_key": "This run has a result for this test already.",
    "task_task_id_key": "A task with this id exists already.",
    "test_test_set_pkey": "The test is in this set already.",
}
_VIOLATIONS: Mapping[str, str] = {
    "23505": "An object with these values exists already.",
    "23514": "A value is not among those that are possible here.",
    "23502": "A value that must be there is missing.",
}
_FOREIGN_KEY_VIOLATION = "23503"
_STILL_USED = "The object is still used by another one ({table}): remove that one first."
_NOT_THERE = "The request refers to an object that this organization does not have."

PROBLEM_RESPONSES: dict[int | str, dict[str, Any]] = {
    status.value: {
        "description": meaning,
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    for status, meaning in {
        HTTPStatus.UNAUTHORIZED: "No valid token.",
        HTTPStatus.FORBIDDEN: "The object is another user's, or only a superuser may do this.",
        HTTPStatus.NOT_FOUND: "No such object in the caller's organization.",
        HTTPStatus.CONFLICT: "The object's state, or another object, does not allow it.",
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The body is too large.",
        HTTPStatus.UNPROCESSABLE_ENTITY: "The request cannot be accepted; `errors` says what is wrong where.",
        HTTPStatus.TOO_MANY_REQUESTS: "Too many failed tokens from this address.",
        HTTPStatus.INTERNAL_SERVER_ERROR: "The service failed; the log has the request's id.",
        HTTPStatus.SERVICE_UNAVAILABLE: "The database or the queue cannot be used now.",
    }.items()
}
"""What every route may answer besides its own: `APIRouter(responses=PROBLEM_RESPONSES)`."""


def problem_response(
    status: HTTPStatus,
    code: str,
    detail: str,
    *,
    subject_id: str | None = None,
    errors: Iterable[ErrorDetail] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return an error as an answer."""
    problem = Problem(
        title=status.phrase,
        status=status,
        detail=clean_text(detail)[0],
        code=code,
        id=subject_id,
        errors=list(errors) or None,
    )
    return Response(
        problem.model_dump_json(exclude_none=True), status, headers=dict(headers or {}), media_type=MEDIA_TYPE
    )


def unauthenticated() -> Response:
    """Return the one answer to everybody who shows no valid token, whatever is wrong with the one he shows."""
    return problem_response(
        HTTPStatus.UNAUTHORIZED,
        Unauthenticated.code,
        "A valid token is needed: send it as Authorization: Bearer.",
        headers={"WWW-Authenticate": "Bearer"},
    )


def internal_error(error: BaseException, request_id: str) -> Response:
    """Log what nobody expected, and return an answer that says nothing but where to look.

    The log gets the frames and the type. The message stays out: it may quote the statement and its parameters.
    """
    frames = traceback.extract_tb(error.__traceback__)[-_MAX_FRAMES:]
    _log.error(
        "request failed",
        action="request",
        request_id=request_id,
        error_type=type(error).__qualname__,
        frames=[f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
    )
    return problem_response(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "internal",
        f"The service failed. Its log has the reason under request {request_id}.",
    )


def install_problem_handlers(app: FastAPI) -> None:
    """Make every error of `app` a problem; what no handler knows goes on to the gate, which logs it."""
    app.add_exception_handler(RhesisError, _on_rhesis_error)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(IntegrityError, _on_integrity_error)
    for unstorable in (DataError, UnicodeEncodeError):
        app.add_exception_handler(unstorable, _on_data_error)
    for unavailable in (OperationalError, InterfaceError, PoolTimeout):
        app.add_exception_handler(unavailable, _on_database_error)


def problem_of(error: RhesisError) -> Response:
    """Return one of our own errors as an answer."""
    if isinstance(error, Unauthenticated):
        return unauthenticated()
    status = _STATUS_OF_CODE.get(error.code) or _nearest(_STATUS, error) or HTTPStatus.INTERNAL_SERVER_ERROR
    detail = str(error) if isinstance(error, SecretKeyError) else _nearest(_DETAIL_OF, error) or str(error)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        _log.error("request refused by the service's own state", action="request", code=error.code, reason=str(error))
    problems = error.problems if isinstance(error, InvalidInput) else ()
    return problem_response(
        status,
        NotFound.code if isinstance(error, TenantMismatch) else error.code,
        detail,
        subject_id=error.subject_id,
        errors=_details((problem.where, problem.message) for problem in problems),
        headers=_retry_headers(status),
    )


def _details(problems: Iterable[tuple[str, str]]) -> list[ErrorDetail]:
    # The place may be a key that the caller made up, of any length and any characters.
    return [
        ErrorDetail(where=clean_text(where[:_MAX_WHERE])[0], message=clean_text(message[:_MAX_MESSAGE])[0])
        for where, message in islice(problems, _MAX_ERRORS)
    ]


def _nearest(table: Mapping[type[RhesisError], Any], error: RhesisError) -> Any:
    return next((table[kind] for kind in type(error).__mro__ if kind in table), None)


def _retry_headers(status: HTTPStatus) -> dict[str, str]:
    return {"Retry-After": str(RETRY_AFTER_SECONDS)} if status is HTTPStatus.SERVICE_UNAVAILABLE else {}


async def _on_rhesis_error(_: Request, error: Exception) -> Response:
    return problem_of(error) if isinstance(error, RhesisError) else _unexpected(error)


async def _on_validation_error(_: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        return _unexpected(error)
    # Only place and message: pydantic would also quote the input, which may hold a secret.
    found = _details((".".join(str(part) for part in item["loc"]), str(item["msg"])) for item in error.errors())
    places = ", ".join(detail.where for detail in found[:3])
    return problem_response(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        InvalidInput.code,
        f"The request cannot be accepted: see {places}.",
        errors=found,
    )


async def _on_http_exception(_: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        return _unexpected(error)
    status = HTTPStatus(error.status_code)
    details = {
        HTTPStatus.NOT_FOUND: "There is no such address.",
        HTTPStatus.METHOD_NOT_ALLOWED: "The address does not take this method; the Allow header names those it takes.",
    }
    code = _NO_LETTERS.sub("_", status.phrase.lower())
    return problem_response(status, code, details.get(status, str(error.detail)), headers=error.headers)


async def _on_integrity_error(_: Request, error: Exception) -> Response:
    diagnosis = getattr(getattr(error, "orig", None), "diag", None)
    detail = _CONSTRAINTS.get(getattr(diagnosis, "constraint_name", None) or "") or _violation(diagnosis)
    return problem_response(HTTPStatus.CONFLICT, Conflict.code, detail)


def _violation(diagnosis: Any) -> str:
    state = getattr(diagnosis, "sqlstate", None) or ""
    if state != _FOREIGN_KEY_VIOLATION:
        return _VIOLATIONS.get(state, "The stored objects do not allow this.")
    table = (getattr(diagnosis, "table_name", None) or "object").replace("_", " ")
    removing = str(getattr(diagnosis, "message_primary", "")).startswith("update or delete")
    return _STILL_USED.format(table=table) if removing else _NOT_THERE


async def _on_data_error(_: Request, __: Exception) -> Response:
    return problem_response(
        HTTPStatus.UNPROCESSABLE_ENTITY, InvalidInput.code, "A value cannot be stored: out of range, or not a text."
    )


async def _on_database_error(_: Request, error: Exception) -> Response:
    return database_problem(error)


def database_problem(error: Exception) -> Response:
    """Return the answer to a request that the database could not serve now; the log gets the kind of error."""
    _log.error("database failed", action="request", error_type=type(error).__qualname__)
    return problem_response(
        HTTPStatus.SERVICE_UNAVAILABLE,
        DatabaseUnavailable.code,
        _DETAIL_OF[DatabaseUnavailable],
        headers=_retry_headers(HTTPStatus.SERVICE_UNAVAILABLE),
    )


def _unexpected(error: Exception) -> Response:
    return internal_error(error, "unknown")
