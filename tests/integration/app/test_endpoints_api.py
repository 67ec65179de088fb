"""Endpoints over HTTP: secrets go in and never come out, and cannot be sent elsewhere by whoever may edit."""

import json
from uuid import UUID, uuid4

import pytest
from cryptography.fernet import Fernet

from rhesis.backend.app.database import tenant_session
from rhesis.backend.app.repositories import endpoints as repository
from rhesis.backend.app.services.endpoints import to_spec
from rhesis.backend.app.services.secret_rotation import rotate_secrets
from rhesis.backend.errors import SecretKeyError
from support.api import bearer, problem_of
from support.colleagues import colleague_of
from support.database import SECRET_KEY, environment
from support.world import add_world

BODY = {
    "name": "Assistant",
    "url": "http://127.0.0.1:8080",
    "endpoint_path": "/chat",
    "request_headers": {"X-Api-Key": "canary-header", "Accept-Language": "en"},
    "query_params": {"key": "canary-query"},
    "request_body_template": {"question": "{{ input }}"},
    "response_mappings": {"output": "$.answer"},
    "auth_type": "bearer_token",
    "auth_token": "canary-token",
}


@pytest.fixture
def owner(database, tenant):
    return bearer(database, tenant)


@pytest.fixture
def made(client, owner) -> dict:
    response = client.post("/endpoints", json=BODY, headers=owner)
    assert response.status_code == 201, response.text
    return response.json()


@pytest.fixture
def spec_of(tenant):
    def opened(endpoint: dict):
        with tenant_session(tenant.organization_id, tenant.user_id) as db:
            return to_spec(repository.find(db, tenant.organization_id, UUID(endpoint["id"])))

    return opened


def change(client, headers, made: dict, **values) -> dict:
    response = client.patch(f"/endpoints/{made['id']}", json=values, headers=headers)
    assert response.status_code == 200, response.text
    return response.json()


def test_answers_show_that_secrets_are_set_and_never_what_they_are(client, owner, made):
    assert made["request_headers"] == {"X-Api-Key": {"set": True}, "Accept-Language": {"set": True}}
    assert made["query_params"] == {"key": {"set": True}}
    assert made["auth_token"] == {"set": True}
    changed = client.patch(f"/endpoints/{made['id']}", json={"url": "http://127.0.0.1:9001"}, headers=owner)
    shown = [client.get("/endpoints", headers=owner), client.get(f"/endpoints/{made['id']}", headers=owner), changed]
    assert not [answer.text for answer in shown if "canary" in answer.text]


def test_secrets_are_stored_encrypted_and_open_for_their_own_endpoint(database, made, spec_of):
    row = database.fetch("SELECT row_to_json(e)::text FROM rhesis.endpoint e")[0][0]
    assert "canary" not in row
    spec = spec_of(made)
    assert spec.request_headers == BODY["request_headers"]
    assert spec.query_params == BODY["query_params"]
    assert spec.auth_token == "canary-token"
    assert spec.full_url == "http://127.0.0.1:8080/chat"


def test_a_secret_copied_into_another_endpoint_does_not_open_there(client, database, owner, made, spec_of):
    other = client.post("/endpoints", json={"name": "o", "url": "http://127.0.0.1:9001"}, headers=owner).json()
    database.fetch(
        "UPDATE rhesis.endpoint SET auth_token = (SELECT auth_token FROM rhesis.endpoint WHERE id = %s) WHERE id = %s",
        made["id"],
        other["id"],
    )
    with pytest.raises(SecretKeyError, match=other["id"]):
        spec_of(other)


def test_secrets_cannot_be_found_out_by_sorting_or_filtering(client, owner, made):
    problem_of(client.get("/endpoints", params={"sort_by": "auth_token"}, headers=owner), 422, "invalid_input")
    for text in ("startswith(auth_token, 'c')", "request_headers eq 'x'"):
        problem_of(client.get("/endpoints", params={"filter": text}, headers=owner), 422, "invalid_filter")


@pytest.mark.parametrize(
    "values",
    [{"url": "http://127.0.0.1:9999"}, {"method": "PUT"}, {"endpoint_path": "/echo"}],
    ids=lambda values: next(iter(values)),
)
def test_a_new_destination_drops_every_stored_secret(client, owner, made, spec_of, values):
    changed = change(client, owner, made, **values)
    assert changed["dropped_secrets"] == [
        "auth_token",
        "query_params.key",
        "request_headers.Accept-Language",
        "request_headers.X-Api-Key",
    ]
    assert (changed["request_headers"], changed["query_params"], changed["auth_token"]) == ({}, {}, {"set": False})
    assert spec_of(made).auth_token is None


def test_secrets_sent_again_with_a_new_destination_are_stored(client, owner, made, spec_of):
    changed = change(
        client,
        owner,
        made,
        url="http://127.0.0.1:9001",
        auth_token="again",
        request_headers={"X-Api-Key": "new"},
        query_params={},
    )
    assert changed["dropped_secrets"] == []
    spec = spec_of(made)
    assert (spec.auth_token, spec.request_headers, spec.query_params) == ("again", {"X-Api-Key": "new"}, {})


def test_saying_that_a_secret_is_set_does_not_carry_it_to_a_new_destination(client, owner, made):
    kept = {"X-Api-Key": {"set": True}}
    changed = change(client, owner, made, url="http://127.0.0.1:9001", request_headers=kept, auth_token={"set": True})
    assert "request_headers.X-Api-Key" in changed["dropped_secrets"]
    assert "auth_token" in changed["dropped_secrets"]


@pytest.mark.parametrize(
    "values",
    [
        {"request_body_template": {"x": "{{ auth_token }}"}},
        {"request_headers": {"X-Echo": "{{ auth_token | upper }}"}},
        {"query_params": {"t": "{{ auth_token }}"}},
    ],
    ids=lambda values: next(iter(values)),
)
def test_a_new_template_drops_the_token(client, owner, made, spec_of, values):
    assert "auth_token" in change(client, owner, made, **values)["dropped_secrets"]
    assert spec_of(made).auth_token is None


def test_an_answer_can_be_sent_back_without_losing_anything(client, owner, made, spec_of):
    body = {key: made[key] for key in BODY}
    changed = change(client, owner, made, **body | {"name": "Renamed"})
    assert changed["dropped_secrets"] == []
    assert changed["name"] == "Renamed"
    spec = spec_of(made)
    assert (spec.auth_token, spec.request_headers) == ("canary-token", BODY["request_headers"])


def test_a_header_left_out_is_removed_and_one_that_is_not_stored_cannot_be_kept(client, owner, made, spec_of):
    change(client, owner, made, request_headers={"X-Api-Key": {"set": True}})
    assert spec_of(made).request_headers == {"X-Api-Key": "canary-header"}
    response = client.patch(f"/endpoints/{made['id']}", json={"request_headers": {"New": {"set": True}}}, headers=owner)
    assert problem_of(response, 422, "invalid_input")["errors"][0]["where"] == "body.request_headers.New"


def test_the_token_can_be_taken_away(client, owner, made, spec_of):
    changed = change(client, owner, made, auth_token=None, auth_type=None)
    assert (changed["auth_token"], changed["dropped_secrets"]) == ({"set": False}, [])
    assert spec_of(made).auth_token is None


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"url": "http://169.254.169.254/latest"}, "address_not_allowed"),
        ({"url": "http://10.0.0.1/"}, "address_not_allowed"),
        ({"url": "http://2852039166/"}, "address_not_allowed"),
        ({"url": "ftp://example.org"}, "invalid_url"),
        ({"url": "http://user:pw@example.org"}, "invalid_url"),
        ({"url": "http://example.org:22/"}, "port_not_allowed"),
        ({"protocol": "GRPC"}, "unsupported_protocol"),
        ({"protocol": "WebSocket"}, "unsupported_protocol"),
        ({"auth_type": "client_credentials"}, "unsupported_auth"),
        ({"method": "TRACE"}, "invalid_input"),
        ({"request_body_template": {"a": "{% for x in y %}{% endfor %}"}}, "invalid_template"),
        ({"request_headers": {"X": "{{ lipsum() }}"}}, "invalid_template"),
        ({"response_mappings": {"output": "no dollar"}}, "invalid_json_path"),
        ({"response_mappings": {"other": "$.x"}}, "invalid_input"),
        ({"organization_id": str(uuid4())}, "invalid_input"),
    ],
)
def test_an_endpoint_that_could_not_be_called_is_refused_when_saved_and_when_changed(client, owner, made, values, code):
    problem_of(client.post("/endpoints", json=BODY | values, headers=owner), 422, code)
    problem_of(client.patch(f"/endpoints/{made['id']}", json=values, headers=owner), 422, code)
    assert client.get(f"/endpoints/{made['id']}", headers=owner).json() == made


def test_a_wrong_value_is_never_quoted_back(client, owner):
    answer = client.post("/endpoints", json=BODY | {"auth_token": ["canary-list"]}, headers=owner)
    assert problem_of(answer, 422, "invalid_input")
    assert "canary" not in answer.text


def test_a_colleague_reads_but_does_not_change_an_endpoint(client, database, tenant, made):
    colleague = bearer(database, colleague_of(database, tenant))
    address = f"/endpoints/{made['id']}"
    assert client.get(address, headers=colleague).json() == made
    problem_of(client.patch(address, json={"name": "x"}, headers=colleague), 403, "forbidden")
    problem_of(client.delete(address, headers=colleague), 403, "forbidden")


def test_an_endpoint_that_a_configuration_uses_is_not_deleted_and_the_answer_names_it(client, database, tenant, owner):
    world = add_world(database, tenant, prompts=["x"])
    problem = problem_of(client.delete(f"/endpoints/{world.endpoint_id}", headers=owner), 409, "in_use")
    assert str(world.configuration_id) in problem["detail"]


def test_an_unused_endpoint_is_deleted(client, owner, made):
    assert client.delete(f"/endpoints/{made['id']}", headers=owner).status_code == 204
    problem_of(client.get(f"/endpoints/{made['id']}", headers=owner), 404, "not_found")


def test_without_the_key_one_line_names_the_endpoint_and_nothing_is_overwritten(client, database, owner, made, spec_of):
    before = database.fetch("SELECT auth_token FROM rhesis.endpoint")
    with environment(
        DATABASE_URL=database.url,
        RHESIS_SECRET_KEYS=Fernet.generate_key().decode(),
        RHESIS_ALLOWED_NETWORKS="127.0.0.0/8",
    ):
        with pytest.raises(SecretKeyError, match=made["id"]):
            spec_of(made)
        problem_of(
            client.patch(f"/endpoints/{made['id']}", json={"response_format": "text"}, headers=owner), 503, "secret_key"
        )
        assert client.patch(f"/endpoints/{made['id']}", json={"name": "n"}, headers=owner).status_code == 200
    assert database.fetch("SELECT auth_token FROM rhesis.endpoint") == before


def test_rotation_seals_with_the_new_key_so_that_the_old_one_can_go(
    client, database, tenant, other_tenant, made, spec_of
):
    client.post("/endpoints", json=BODY, headers=bearer(database, other_tenant))
    new_key = Fernet.generate_key().decode()
    with environment(DATABASE_URL=database.url, RHESIS_SECRET_KEYS=f"{new_key},{SECRET_KEY}"):
        report = rotate_secrets()
        assert (report.endpoints, report.values, report.unreadable) == (2, 8, ())
    with environment(DATABASE_URL=database.url, RHESIS_SECRET_KEYS=new_key):
        assert spec_of(made).auth_token == "canary-token"
        assert spec_of(made).request_headers == BODY["request_headers"]


def test_rotation_reports_what_no_key_opens_and_goes_on(client, database, tenant, owner, made, spec_of):
    broken = client.post("/endpoints", json=BODY, headers=owner).json()
    database.fetch("UPDATE rhesis.endpoint SET auth_token = 'broken' WHERE id = %s", broken["id"])
    report = rotate_secrets()
    assert (report.endpoints, [str(failed) for failed in report.unreadable]) == (1, [broken["id"]])
    assert database.fetch("SELECT auth_token FROM rhesis.endpoint WHERE id = %s", broken["id"]) == [("broken",)]


def test_the_list_says_how_many_there_are_and_filters_by_name(client, owner, made):
    client.post("/endpoints", json=BODY | {"name": "Second"}, headers=owner)
    response = client.get("/endpoints", params={"limit": 1, "sort_by": "name", "sort_order": "asc"}, headers=owner)
    assert response.headers["X-Total-Count"] == "2"
    assert [endpoint["name"] for endpoint in response.json()] == ["Assistant"]
    assert len(client.get("/endpoints", params={"$filter": "name eq 'Second'"}, headers=owner).json()) == 1


def test_the_schema_of_answers_has_no_place_for_a_secret(client):
    schema = json.dumps(client.get("/openapi.json").json()["components"]["schemas"]["Endpoint"])
    assert "writeOnly" not in schema
    assert "SecretState" in schema
