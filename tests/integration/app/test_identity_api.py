"""Organizations, users and tokens over HTTP: superusers for all, everybody for his own."""

import json
from typing import Any
from uuid import uuid4

import pytest
from fastapi.testclient import TestClient

from rhesis.backend.security.tokens import digest_of
from support.api import add_token, bearer, problem_of
from support.database import Tenant, TestDatabase

# Fixed, so that every worker of a parallel run collects the same tests.
NOBODY = "00000000-0000-4000-8000-000000000001"
SUPERUSER_ROUTES = [
    ("GET", "/organizations", None),
    ("POST", "/organizations", {"name": "mine"}),
    ("GET", f"/organizations/{NOBODY}", None),
    ("PATCH", f"/organizations/{NOBODY}", {"is_active": False}),
    ("GET", "/users", None),
    ("POST", "/users", {"organization_id": NOBODY, "email": "a@example.org"}),
    ("GET", f"/users/{NOBODY}", None),
    ("PATCH", f"/users/{NOBODY}", {"is_active": False}),
    ("GET", f"/tokens?user_id={NOBODY}", None),
    ("POST", "/tokens", {"user_id": NOBODY}),
]


@pytest.mark.parametrize(("method", "path", "body"), SUPERUSER_ROUTES)
def test_an_ordinary_user_is_refused_what_is_a_superusers(
    client: TestClient, database: TestDatabase, tenant: Tenant, method: str, path: str, body: Any
):
    before = database.fetch("SELECT count(*) FROM rhesis.organization")
    problem_of(client.request(method, path, json=body, headers=bearer(database, tenant)), 403, "forbidden")
    assert database.fetch("SELECT count(*) FROM rhesis.organization") == before


def test_a_superuser_looks_after_every_organization(
    client: TestClient, database: TestDatabase, superuser: Tenant, tenant: Tenant
):
    authenticated = bearer(database, superuser)
    made = client.post("/organizations", json={"name": " Third "}, headers=authenticated)
    assert (made.status_code, made.json()["name"], made.json()["is_active"]) == (201, "Third", True)
    listed = client.get("/organizations", params={"sort_by": "name"}, headers=authenticated)
    assert {found["name"] for found in listed.json()} == {"operators", "first", "Third"}
    assert listed.headers["x-total-count"] == "3"
    shown = client.get(f"/organizations/{tenant.organization_id}", headers=authenticated)
    assert shown.json()["id"] == str(tenant.organization_id)
    problem_of(client.get(f"/organizations/{uuid4()}", headers=authenticated), 404, "not_found")


def test_switching_an_organization_off_refuses_its_tokens_and_switching_it_on_restores_them(
    client: TestClient, database: TestDatabase, superuser: Tenant, tenant: Tenant
):
    authenticated = bearer(database, superuser)
    address = f"/organizations/{tenant.organization_id}"
    theirs = bearer(database, tenant)
    for active, status in ((False, 401), (True, 200)):
        answer = client.patch(address, json={"is_active": active}, headers=authenticated)
        assert (answer.status_code, answer.json()["is_active"]) == (200, active)
        assert client.get("/users/me", headers=theirs).status_code == status


def test_a_change_shows_the_time_of_the_change(client: TestClient, database: TestDatabase, superuser: Tenant):
    authenticated = bearer(database, superuser)
    made = client.post("/organizations", json={"name": "one"}, headers=authenticated).json()
    changed = client.patch(f"/organizations/{made['id']}", json={"name": "two"}, headers=authenticated).json()
    assert changed["name"] == "two"
    assert changed["updated_at"] > made["updated_at"]


def test_a_superuser_cannot_lock_himself_out(client: TestClient, database: TestDatabase, superuser: Tenant):
    authenticated = bearer(database, superuser)
    for address in (f"/organizations/{superuser.organization_id}", f"/users/{superuser.user_id}"):
        problem_of(client.patch(address, json={"is_active": False}, headers=authenticated), 409, "own_account")
    assert client.get("/users/me", headers=authenticated).status_code == 200


def test_a_superuser_makes_users_who_are_none(
    client: TestClient, database: TestDatabase, superuser: Tenant, tenant: Tenant
):
    authenticated = bearer(database, superuser)
    given = {"organization_id": str(tenant.organization_id), "email": "New@Example.org", "name": "New"}
    made = client.post("/users", json=given, headers=authenticated)
    assert made.status_code == 201
    assert (made.json()["email"], made.json()["is_superuser"]) == ("New@Example.org", False)
    again = client.post("/users", json=given | {"email": "new@example.org"}, headers=authenticated)
    assert "e-mail" in problem_of(again, 409, "email_taken")["detail"]
    for extra in ({"is_superuser": True}, {"id": str(uuid4())}):
        problem_of(client.post("/users", json=given | extra, headers=authenticated), 422, "invalid_input")
    promoted = client.patch(f"/users/{made.json()['id']}", json={"is_superuser": True}, headers=authenticated)
    problem_of(promoted, 422, "invalid_input")


def test_a_user_of_no_organization_is_refused(client: TestClient, database: TestDatabase, superuser: Tenant):
    given = {"organization_id": str(uuid4()), "email": "new@example.org"}
    problem_of(client.post("/users", json=given, headers=bearer(database, superuser)), 404, "not_found")


@pytest.mark.parametrize(
    "email", ["nobody", "@", "a@", "@b", "a b@c", "a@b@c", "a\x00@b", "a\ud800@b", "a" * 250 + "@b.de"]
)
def test_what_is_no_address_is_refused(client: TestClient, database: TestDatabase, superuser: Tenant, email: str):
    given = {"organization_id": str(superuser.organization_id), "email": email}
    # Written by hand: a client's own JSON encoder refuses half a character before we can.
    authenticated = bearer(database, superuser) | {"Content-Type": "application/json"}
    problem_of(client.post("/users", content=json.dumps(given), headers=authenticated), 422, "invalid_input")


@pytest.mark.parametrize("name", ["", "   ", "a\x00b", "a\ud800b", "x" * 201])
def test_a_name_that_cannot_be_one_is_refused(client: TestClient, database: TestDatabase, superuser: Tenant, name: str):
    authenticated = bearer(database, superuser) | {"Content-Type": "application/json"}
    answer = client.post("/organizations", content=json.dumps({"name": name}), headers=authenticated)
    problem_of(answer, 422, "invalid_input")


def test_switching_a_user_off_refuses_his_tokens(
    client: TestClient, database: TestDatabase, superuser: Tenant, tenant: Tenant
):
    theirs = bearer(database, tenant)
    address = f"/users/{tenant.user_id}"
    answer = client.patch(address, json={"is_active": False, "name": "Off"}, headers=bearer(database, superuser))
    assert (answer.json()["is_active"], answer.json()["name"]) == (False, "Off")
    assert client.get("/users/me", headers=theirs).status_code == 401


def test_users_are_filtered_and_counted(
    client: TestClient, database: TestDatabase, superuser: Tenant, tenant: Tenant, other_tenant: Tenant
):
    only = f"organization_id eq {tenant.organization_id} and is_superuser eq false"
    answer = client.get("/users", params={"$filter": only}, headers=bearer(database, superuser))
    assert [found["id"] for found in answer.json()] == [str(tenant.user_id)]
    assert answer.headers["x-total-count"] == "1"


def test_a_token_is_shown_once_and_its_digest_never(client: TestClient, database: TestDatabase, tenant: Tenant):
    authenticated = bearer(database, tenant)
    made = client.post("/tokens", json={"name": "ci"}, headers=authenticated)
    assert made.status_code == 201
    plain = made.json()["token"]
    assert made.json()["prefix"] == plain[:8]
    assert client.get("/users/me", headers={"Authorization": f"Bearer {plain}"}).status_code == 200
    listed = client.get("/tokens", headers=authenticated)
    assert len(listed.json()) == 2
    assert plain not in listed.text
    assert "digest" not in listed.text + made.text
    assert digest_of(plain) not in listed.text + made.text
    assert database.fetch("SELECT count(*) FROM rhesis.token t WHERE t::text LIKE %s", f"%{plain}%") == [(0,)]


@pytest.mark.parametrize(("given", "days"), [({}, 90), ({"days": 1}, 1), ({"days": 365}, 365)])
def test_a_token_lives_ninety_days_unless_told_otherwise(
    client: TestClient, database: TestDatabase, tenant: Tenant, given: dict[str, int], days: int
):
    made = client.post("/tokens", json=given, headers=bearer(database, tenant)).json()
    seconds = database.fetch(
        "SELECT extract(epoch FROM expires_at - now()) FROM rhesis.token WHERE id = %s", made["id"]
    )
    assert abs(float(seconds[0][0]) - days * 86_400) < 60


@pytest.mark.parametrize("days", [0, -1, 366, 10**9, "x"])
def test_a_token_cannot_live_longer_than_a_year(
    client: TestClient, database: TestDatabase, tenant: Tenant, days: object
):
    problem_of(client.post("/tokens", json={"days": days}, headers=bearer(database, tenant)), 422, "invalid_input")


def test_an_owner_revokes_his_token_and_it_is_refused_with_the_next_request(
    client: TestClient, database: TestDatabase, tenant: Tenant
):
    authenticated = bearer(database, tenant)
    made = client.post("/tokens", json={}, headers=authenticated).json()
    fresh = {"Authorization": f"Bearer {made['token']}"}
    assert client.get("/users/me", headers=fresh).status_code == 200
    for _ in range(2):
        assert client.delete(f"/tokens/{made['id']}", headers=authenticated).status_code == 204
    assert client.get("/users/me", headers=fresh).status_code == 401
    revoked = [found for found in client.get("/tokens", headers=authenticated).json() if found["revoked_at"]]
    assert [found["id"] for found in revoked] == [made["id"]]


def test_another_users_token_is_403_in_the_organization_and_404_outside(
    client: TestClient, database: TestDatabase, tenant: Tenant, other_tenant: Tenant
):
    colleague = uuid4()
    database.add_user(tenant.organization_id, user_id=colleague, email="colleague@example.org")
    add_token(database, tenant, user_id=colleague)
    add_token(database, other_tenant)
    ids = dict(database.fetch("SELECT user_id, id FROM rhesis.token"))
    authenticated = bearer(database, tenant)
    problem_of(client.delete(f"/tokens/{ids[colleague]}", headers=authenticated), 403, "forbidden")
    problem_of(client.delete(f"/tokens/{ids[other_tenant.user_id]}", headers=authenticated), 404, "not_found")
    problem_of(client.delete(f"/tokens/{uuid4()}", headers=authenticated), 404, "not_found")
    assert database.fetch("SELECT count(*) FROM rhesis.token WHERE revoked_at IS NOT NULL") == [(0,)]


def test_a_user_sees_his_own_tokens_alone(client: TestClient, database: TestDatabase, tenant: Tenant):
    colleague = uuid4()
    database.add_user(tenant.organization_id, user_id=colleague, email="colleague@example.org")
    add_token(database, tenant, user_id=colleague)
    listed = client.get("/tokens", headers=bearer(database, tenant))
    assert [found["user_id"] for found in listed.json()] == [str(tenant.user_id)]


def test_a_superuser_creates_lists_and_revokes_tokens_of_anybody(
    client: TestClient, database: TestDatabase, superuser: Tenant, tenant: Tenant
):
    authenticated = bearer(database, superuser)
    made = client.post("/tokens", json={"user_id": str(tenant.user_id)}, headers=authenticated).json()
    theirs = {"Authorization": f"Bearer {made['token']}"}
    assert client.get("/users/me", headers=theirs).json()["id"] == str(tenant.user_id)
    listed = client.get("/tokens", params={"user_id": str(tenant.user_id)}, headers=authenticated)
    assert [found["id"] for found in listed.json()] == [made["id"]]
    assert client.delete(f"/tokens/{made['id']}", headers=authenticated).status_code == 204
    assert client.get("/users/me", headers=theirs).status_code == 401
    problem_of(client.delete(f"/tokens/{uuid4()}", headers=authenticated), 404, "not_found")
    problem_of(client.post("/tokens", json={"user_id": str(uuid4())}, headers=authenticated), 404, "not_found")


def test_naming_oneself_is_asking_for_ones_own(client: TestClient, database: TestDatabase, tenant: Tenant):
    authenticated = bearer(database, tenant)
    assert client.post("/tokens", json={"user_id": str(tenant.user_id)}, headers=authenticated).status_code == 201
    listed = client.get("/tokens", params={"user_id": str(tenant.user_id)}, headers=authenticated)
    assert listed.headers["x-total-count"] == "2"


def test_a_tenant_in_the_body_is_refused(client: TestClient, database: TestDatabase, tenant: Tenant):
    given = {"organization_id": str(tenant.organization_id)}
    problem = problem_of(client.post("/tokens", json=given, headers=bearer(database, tenant)), 422, "invalid_input")
    assert problem["errors"][0]["where"] == "body.organization_id"
