"""Test sets over HTTP: rules of ownership, visibility and order."""

from uuid import uuid4

import pytest

from support.api import bearer, problem_of
from support.colleagues import colleague_of
from support.world import add_world

METRIC = {"name": "contains", "parameters": {"value": "ok"}}


@pytest.fixture
def owner(database, tenant):
    return bearer(database, tenant)


def make_set(client, headers, **values) -> dict:
    response = client.post("/test_sets", json={"name": "Smoke"} | values, headers=headers)
    assert response.status_code == 201, response.text
    return response.json()


def add_tests(client, headers, test_set_id: str, count: int) -> list[str]:
    ids = [client.post("/tests", json={"prompt": f"p{n}"}, headers=headers).json()["id"] for n in range(count)]
    response = client.post(f"/test_sets/{test_set_id}/tests", json={"test_ids": ids}, headers=headers)
    assert response.json() == {"added": count}
    return ids


def listed(client, headers, test_set_id: str, **query) -> list[str]:
    response = client.get(f"/test_sets/{test_set_id}/tests", params=query, headers=headers)
    assert response.status_code == 200, response.text
    return [test["id"] for test in response.json()]


def test_a_set_is_created_read_changed_and_deleted(client, owner, tenant):
    made = make_set(client, owner, name=" Größe & Preis ", description="d", metrics=[METRIC], attributes={"a": 1})
    assert (made["name"], made["slug"], made["user_id"]) == ("Größe & Preis", "groe-preis", str(tenant.user_id))
    address = f"/test_sets/{made['id']}"
    changed = client.patch(address, json={"description": "new", "attributes": {}, "metrics": []}, headers=owner).json()
    assert (changed["description"], changed["attributes"], changed["metrics"]) == ("new", {}, [])
    assert changed["updated_at"] > made["updated_at"]
    assert client.get(address, headers=owner).json() == changed
    assert client.delete(address, headers=owner).status_code == 204
    problem_of(client.get(address, headers=owner), 404, "not_found")


def test_sets_of_one_name_get_different_slugs_even_when_one_cannot_be_seen(client, database, tenant, owner):
    hidden = make_set(client, owner, visibility="user")
    colleague = bearer(database, colleague_of(database, tenant))
    other = make_set(client, colleague)
    assert hidden["slug"] == "smoke"
    assert other["slug"].startswith("smoke-")


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({}, "body.name"),
        ({"name": "   "}, "body.name"),
        ({"name": "x" * 201}, "body.name"),
        ({"name": "x", "visibility": "public"}, "body.visibility"),
        ({"name": "x", "organization_id": str(uuid4())}, "body.organization_id"),
        ({"name": "x", "user_id": str(uuid4())}, "body.user_id"),
        ({"name": "x", "attributes": {"a": "y" * 70_000}}, "body.attributes"),
        ({"name": "x", "metrics": [{"name": "nonsense"}]}, "metrics[0].name"),
    ],
)
def test_a_set_that_cannot_be_accepted_is_refused_with_the_field(client, owner, body, where):
    problem = problem_of(client.post("/test_sets", json=body, headers=owner), 422, problem_code(body))
    assert [error["where"] for error in problem["errors"]] == [where]


def problem_code(body: dict) -> str:
    return "invalid_metric" if "metrics" in body else "invalid_input"


def test_null_is_refused_where_a_value_must_be(client, owner):
    made = make_set(client, owner)
    response = client.patch(f"/test_sets/{made['id']}", json={"name": None}, headers=owner)
    assert problem_of(response, 422, "invalid_input")["errors"][0]["where"] == "body.name"


def test_characters_that_cannot_be_stored_become_visible_replacements(client, owner):
    made = client.post(
        "/test_sets",
        content=b'{"name": "a\\u0000b", "description": "\\ud800", "attributes": {"k\\u0000": "\\u0000"}}',
        headers=owner | {"Content-Type": "application/json"},
    ).json()
    assert (made["name"], made["description"], made["attributes"]) == ("a\ufffdb", "\ufffd", {"k\ufffd": "\ufffd"})


def test_only_the_owner_sees_a_hidden_set_and_what_is_in_it(client, database, tenant, owner):
    hidden = make_set(client, owner, visibility="user")
    add_tests(client, owner, hidden["id"], 1)
    superuser = bearer(database, colleague_of(database, tenant, superuser=True))
    for address in ("", "/tests", "/export"):
        problem_of(client.get(f"/test_sets/{hidden['id']}{address}", headers=superuser), 404, "not_found")
    assert client.get("/test_sets", headers=superuser).json() == []
    assert client.get(f"/test_sets/{hidden['id']}", headers=owner).status_code == 200


def test_a_colleague_reads_and_may_not_change_but_a_superuser_may(client, database, tenant, owner):
    made = make_set(client, owner)
    test_id = add_tests(client, owner, made["id"], 1)[0]
    address = f"/test_sets/{made['id']}"
    colleague = bearer(database, colleague_of(database, tenant))
    assert client.get(address, headers=colleague).status_code == 200
    for response in (
        client.patch(address, json={"name": "mine"}, headers=colleague),
        client.delete(address, headers=colleague),
        client.post(f"{address}/tests", json={"test_ids": [test_id]}, headers=colleague),
        client.delete(f"{address}/tests/{test_id}", headers=colleague),
    ):
        assert problem_of(response, 403, "forbidden")["id"] == made["id"]
    superuser = bearer(database, colleague_of(database, tenant, superuser=True))
    assert client.patch(address, json={"name": "ours"}, headers=superuser).json()["name"] == "ours"
    problem_of(client.patch(address, json={"visibility": "user"}, headers=superuser), 403, "forbidden")
    assert client.patch(address, json={"visibility": "user"}, headers=owner).json()["visibility"] == "user"


def test_tests_keep_the_order_in_which_they_were_added(client, owner):
    made = make_set(client, owner)
    first = add_tests(client, owner, made["id"], 3)
    second = add_tests(client, owner, made["id"], 2)
    assert listed(client, owner, made["id"]) == first + second
    assert listed(client, owner, made["id"], skip=2, limit=2) == [first[2], second[0]]
    response = client.get(f"/test_sets/{made['id']}/tests", params={"limit": 1}, headers=owner)
    assert response.headers["X-Total-Count"] == "5"


def test_a_test_added_twice_stays_where_it_is_and_can_be_taken_out_once(client, owner):
    made = make_set(client, owner)
    ids = add_tests(client, owner, made["id"], 2)
    address = f"/test_sets/{made['id']}/tests"
    again = client.post(address, json={"test_ids": [ids[0], ids[0]]}, headers=owner)
    assert again.json() == {"added": 0}
    assert listed(client, owner, made["id"]) == ids
    assert client.delete(f"{address}/{ids[0]}", headers=owner).status_code == 204
    problem_of(client.delete(f"{address}/{ids[0]}", headers=owner), 404, "not_found")
    assert client.get(f"/tests/{ids[0]}", headers=owner).status_code == 200


def test_ids_of_another_organization_and_of_nothing_are_refused_alike_and_nothing_is_added(
    client, database, owner, other_tenant
):
    made = make_set(client, owner)
    own = client.post("/tests", json={"prompt": "p"}, headers=owner).json()["id"]
    foreign = str(add_world(database, other_tenant, prompts=["x"]).test_ids[0])
    details = []
    for unknown in (foreign, str(uuid4())):
        response = client.post(f"/test_sets/{made['id']}/tests", json={"test_ids": [own, unknown]}, headers=owner)
        problem = problem_of(response, 422, "unknown_reference")
        assert problem["errors"] == [{"where": "body.test_ids", "message": f"no test {unknown}"}]
        details.append(problem["detail"].replace(unknown, "ID"))
    assert details[0] == details[1]
    assert listed(client, owner, made["id"]) == []


def test_a_set_that_a_configuration_uses_is_not_deleted_and_the_answer_names_it(client, database, tenant, owner):
    world = add_world(database, tenant, prompts=["x"])
    problem = problem_of(client.delete(f"/test_sets/{world.test_set_id}", headers=owner), 409, "in_use")
    assert str(world.configuration_id) in problem["detail"]
    assert client.get(f"/test_sets/{world.test_set_id}", headers=owner).status_code == 200


def test_deleting_a_set_leaves_its_tests(client, owner):
    made = make_set(client, owner)
    test_id = add_tests(client, owner, made["id"], 1)[0]
    assert client.delete(f"/test_sets/{made['id']}", headers=owner).status_code == 204
    assert client.get(f"/tests/{test_id}", headers=owner).status_code == 200
