"""Who is let in: a valid token of an active user of an active organization, and nobody else."""

from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient

from rhesis.backend.app.attempts import ALLOWED_FAILURES
from rhesis.backend.security.tokens import mint_token
from support.api import add_token, bearer, problem_of
from support.database import Tenant, TestDatabase

ME = "/users/me"


def headers(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_a_valid_token_is_its_user(client: TestClient, tenant: Tenant, token_of: Callable[[Tenant], dict[str, str]]):
    answer = client.get(ME, headers=token_of(tenant))
    assert answer.status_code == 200
    assert (answer.json()["id"], answer.json()["email"]) == (str(tenant.user_id), tenant.email)


@pytest.mark.parametrize(
    "spoil",
    [
        "UPDATE rhesis.token SET revoked_at = now()",
        "UPDATE rhesis.token SET expires_at = now()",
        'UPDATE rhesis."user" SET is_active = false',
        "UPDATE rhesis.organization SET is_active = false",
        "UPDATE rhesis.token SET digest = 'another'",
    ],
)
def test_a_token_that_is_no_longer_good_gets_the_answer_of_an_unknown_one(
    client: TestClient, database: TestDatabase, tenant: Tenant, spoil: str
):
    token = add_token(database, tenant)
    assert client.get(ME, headers=headers(token)).status_code == 200
    database.fetch(spoil)
    spoilt = client.get(ME, headers=headers(token))
    unknown = client.get(ME, headers=headers(mint_token().plain))
    missing = client.get(ME)
    problem_of(spoilt, 401, "unauthenticated")
    assert spoilt.content == unknown.content == missing.content
    assert spoilt.headers["www-authenticate"] == unknown.headers["www-authenticate"] == "Bearer"


def test_a_token_in_the_address_is_ignored(client: TestClient, database: TestDatabase, tenant: Tenant):
    token = add_token(database, tenant)
    for name in ("token", "access_token", "authorization"):
        problem_of(client.get(ME, params={name: token}), 401, "unauthenticated")


def test_the_last_use_is_written_at_most_once_a_minute(client: TestClient, database: TestDatabase, tenant: Tenant):
    authenticated = bearer(database, tenant)
    written = "SELECT last_used_at, now() - last_used_at < interval '1 minute' FROM rhesis.token"
    assert database.fetch(written) == [(None, None)]
    client.get(ME, headers=authenticated)
    ((first, recent),) = database.fetch(written)
    assert recent
    client.get(ME, headers=authenticated)
    assert database.fetch(written)[0][0] == first
    database.fetch("UPDATE rhesis.token SET last_used_at = now() - interval '61 seconds'")
    client.get(ME, headers=authenticated)
    assert database.fetch(written)[0][1]


def test_wrong_tokens_are_limited_and_a_working_client_is_not_locked_out(
    client: TestClient, database: TestDatabase, tenant: Tenant
):
    working = bearer(database, tenant)
    assert client.get(ME, headers=working).status_code == 200
    for _ in range(ALLOWED_FAILURES):
        problem_of(client.get(ME, headers=headers(mint_token().plain)), 401, "unauthenticated")
    refused = client.get(ME, headers=headers(mint_token().plain))
    problem_of(refused, 429, "too_many_failed_tokens")
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert client.get(ME, headers=working).status_code == 200


def test_a_revoked_token_of_a_blocked_address_is_refused_at_once(
    client: TestClient, database: TestDatabase, tenant: Tenant
):
    working = bearer(database, tenant)
    client.get(ME, headers=working)
    for _ in range(ALLOWED_FAILURES):
        client.get(ME, headers=headers("rh_junk"))
    database.fetch("UPDATE rhesis.token SET revoked_at = now()")
    assert client.get(ME, headers=working).status_code == 401


def test_a_request_sees_its_own_organization_alone(
    client: TestClient, database: TestDatabase, tenant: Tenant, other_tenant: Tenant
):
    assert client.get("/tokens", headers=bearer(database, tenant)).headers["x-total-count"] == "1"
    assert client.get("/tokens", headers=bearer(database, other_tenant)).headers["x-total-count"] == "1"
