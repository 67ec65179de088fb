"""Every error is one shape, says what is wrong, and quotes neither SQL nor secrets."""

from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from fastapi import FastAPI, HTTPException
from fastapi.testclient import TestClient
from sqlalchemy import text

from rhesis.backend.app.dependencies import CurrentActor, DatabaseSession
from rhesis.backend.app.main import create_app
from rhesis.backend.app.models import Endpoint, TestConfiguration, TestSet
from rhesis.backend.app.schemas.common import Input
from rhesis.backend.errors import (
    ConfigurationError,
    Conflict,
    DatabaseUnavailable,
    EmbeddedServerError,
    Forbidden,
    InputProblem,
    InvalidInput,
    NotFound,
    RhesisError,
    SecretKeyError,
    TenantMismatch,
    Unauthenticated,
)
from support.api import bearer, problem_of
from support.database import Tenant, TestDatabase


class DispatchLike(RhesisError):
    """The broker did not take it."""

    code = "dispatch_failed"


class Given(Input):
    name: str
    count: int


@pytest.fixture
def call(database: TestDatabase, tenant: Tenant) -> Callable[..., Any]:
    """Return a function that sends a request to a route that does what it is given."""
    authenticated = bearer(database, tenant)

    def calling(act: Callable[..., Any], method: str = "GET", **options: Any) -> Any:
        app: FastAPI = create_app()
        app.add_api_route("/probe/{number}", act, methods=["GET", "POST"])
        headers = authenticated | options.pop("headers", {})
        return TestClient(app).request(method, options.pop("path", "/probe/1"), headers=headers, **options)

    return calling


def raising(error: Exception) -> Callable[[], None]:
    def act() -> None:
        raise error

    return act


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (InvalidInput("no"), 422, "invalid_input"),
        (InvalidInput("no", code="empty_test_set"), 422, "empty_test_set"),
        (NotFound("no"), 404, "not_found"),
        (TenantMismatch("no"), 404, "not_found"),
        (Forbidden("no"), 403, "forbidden"),
        (Conflict("no"), 409, "conflict"),
        (Conflict("no", code="not_open"), 409, "not_open"),
        (Unauthenticated("no"), 401, "unauthenticated"),
        (DatabaseUnavailable("no", kind="role"), 503, "database_unavailable"),
        (EmbeddedServerError("no"), 503, "embedded_server"),
        (SecretKeyError("no"), 503, "secret_key"),
        (ConfigurationError("no"), 500, "configuration"),
        (DispatchLike("no"), 503, "dispatch_failed"),
        (RhesisError("no"), 500, "error"),
        (HTTPException(418, "no"), 418, "i_m_a_teapot"),
        (ValueError("no"), 500, "internal"),
    ],
)
def test_each_error_has_its_status_and_code(call: Callable[..., Any], error: Exception, status: int, code: str):
    problem_of(call(raising(error)), status, code)


@pytest.mark.parametrize(
    "error",
    [
        DatabaseUnavailable("canary", kind="role"),
        EmbeddedServerError("canary"),
        ConfigurationError("canary"),
        TenantMismatch("canary"),
        ValueError("canary"),
        Unauthenticated("canary"),
    ],
)
def test_what_names_the_installation_is_not_told(call: Callable[..., Any], error: Exception):
    assert "canary" not in call(raising(error)).text


def test_unavailability_says_when_to_try_again(call: Callable[..., Any]):
    assert int(call(raising(DatabaseUnavailable("no", kind="unreachable"))).headers["retry-after"]) > 0
    assert int(call(raising(DispatchLike("no"))).headers["retry-after"]) > 0


def test_a_missing_token_is_asked_for(call: Callable[..., Any]):
    assert call(raising(Unauthenticated())).headers["www-authenticate"] == "Bearer"


def test_an_error_carries_the_id_and_the_places(call: Callable[..., Any]):
    error = InvalidInput("two rows are wrong", problems=(InputProblem("row 2", "no prompt"),), subject_id="17")
    problem = problem_of(call(raising(error)), 422, "invalid_input")
    assert (problem["id"], problem["errors"]) == ("17", [{"where": "row 2", "message": "no prompt"}])
    assert (problem["type"], problem["detail"]) == ("about:blank", "two rows are wrong")
    assert "errors" not in problem_of(call(raising(NotFound("no"))), 404, "not_found")


def test_a_refused_body_names_the_places_and_never_quotes_the_input(call: Callable[..., Any]):
    def act(given: Given) -> None:
        raise AssertionError(given)

    answer = call(act, "POST", json={"name": 5, "count": "canary", "canary-key": "canary-value"})
    problem = problem_of(answer, 422, "invalid_input")
    assert [found["where"] for found in problem["errors"]] == ["body.name", "body.count", "body.canary-key"]
    assert "canary-value" not in answer.text
    assert '"canary"' not in answer.text


@pytest.mark.parametrize("body", [b"{", b"[]", b"null", b'"x"', b"\xff", b"", b"[" * 5000, b'{"\\ud800": 1}'])
def test_a_broken_body_is_a_problem(call: Callable[..., Any], body: bytes):
    def act(given: Given) -> None:
        raise AssertionError(given)

    answer = call(act, "POST", content=body, headers={"content-type": "application/json"})
    assert answer.status_code in (400, 422), answer.text
    problem_of(answer, answer.status_code, answer.json()["code"])


def test_a_key_of_any_length_is_shortened(call: Callable[..., Any]):
    def act(given: Given) -> None:
        raise AssertionError(given)

    answer = call(act, "POST", json={"x" * 100_000: 1} | {str(number): 1 for number in range(500)})
    assert len(answer.content) < 50_000


def test_a_wrong_path_parameter_is_422(call: Callable[..., Any]):
    def act(number: UUID) -> None:
        raise AssertionError(number)

    assert problem_of(call(act), 422, "invalid_input")["errors"][0]["where"] == "path.number"


def test_an_unknown_address_and_a_wrong_method_are_problems(call: Callable[..., Any]):
    problem_of(call(raising(NotFound("no")), path="/nowhere"), 404, "not_found")
    wrong = call(raising(NotFound("no")), "DELETE")
    problem_of(wrong, 405, "method_not_allowed")
    assert "GET" in wrong.headers["allow"]


def set_of(actor: CurrentActor, slug: str = "one") -> TestSet:
    return TestSet(organization_id=actor.organization_id, user_id=actor.id, name=slug, slug=slug)


def test_a_taken_name_is_409_with_its_meaning(call: Callable[..., Any]):
    def act(db: DatabaseSession, actor: CurrentActor) -> None:
        db.add_all([set_of(actor), set_of(actor)])
        db.flush()

    assert "test set with this name" in problem_of(call(act), 409, "conflict")["detail"]


def test_a_reference_into_nowhere_and_a_removal_of_what_is_used_are_told_apart(call: Callable[..., Any]):
    def refer(db: DatabaseSession, actor: CurrentActor) -> None:
        owner = {"organization_id": actor.organization_id, "user_id": actor.id}
        db.add(TestConfiguration(**owner, endpoint_id=uuid4(), test_set_id=uuid4()))
        db.flush()

    def remove(db: DatabaseSession, actor: CurrentActor) -> None:
        owner = {"organization_id": actor.organization_id, "user_id": actor.id}
        endpoint, used = Endpoint(**owner, name="e", url="http://x"), set_of(actor)
        db.add_all([endpoint, used])
        db.flush()
        db.add(TestConfiguration(**owner, endpoint_id=endpoint.id, test_set_id=used.id))
        db.flush()
        db.delete(used)
        db.flush()

    assert "does not have" in problem_of(call(refer), 409, "conflict")["detail"]
    assert "still used by another one (test configuration)" in problem_of(call(remove), 409, "conflict")["detail"]


@pytest.mark.parametrize(
    ("statement", "status", "code"),
    [
        ("SELECT 'canary'::integer", 422, "invalid_input"),
        ("SELECT 3000000000::integer", 422, "invalid_input"),
        ("SELECT canary", 500, "internal"),
        ("INSERT INTO rhesis.test (organization_id, user_id, prompt) VALUES (gen_random_uuid(), gen_random_uuid(), '')",
         500, "internal"),
    ],
)  # fmt: skip
def test_no_answer_quotes_sql(call: Callable[..., Any], statement: str, status: int, code: str):
    def act(db: DatabaseSession) -> None:
        db.execute(text(statement))

    answer = call(act)
    problem_of(answer, status, code)
    assert "canary" not in answer.text
    assert "SELECT" not in answer.text
    assert "rhesis." not in answer.text


def test_a_connection_that_breaks_is_503_and_the_next_request_works(call: Callable[..., Any], database: TestDatabase):
    def act(db: DatabaseSession, number: int) -> None:
        if number == 1:
            database.fetch("SELECT pg_terminate_backend(%s)", db.scalar(text("SELECT pg_backend_pid()")))
        db.execute(text("SELECT 'canary'"))

    answer = call(act)
    problem_of(answer, 503, "database_unavailable")
    assert "canary" not in answer.text
    assert call(act, path="/probe/2").status_code == 200


def test_text_that_cannot_be_encoded_is_422(call: Callable[..., Any]):
    def act(db: DatabaseSession) -> None:
        db.execute(text("SELECT :value"), {"value": "\ud800"})

    problem_of(call(act), 422, "invalid_input")


def test_the_log_of_an_unexpected_error_has_the_request_id_and_no_message(
    call: Callable[..., Any], capsys: pytest.CaptureFixture[str]
):
    answer = call(raising(ValueError("canary")))
    written = capsys.readouterr()
    assert answer.headers["x-request-id"] in written.out + written.err
    assert "ValueError" in written.out + written.err
    assert "canary" not in written.out + written.err
