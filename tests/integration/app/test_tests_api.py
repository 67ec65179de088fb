"""Tests over HTTP."""

import threading
from uuid import uuid4

import psycopg
import pytest

from support.api import bearer, make_client, problem_of
from support.colleagues import colleague_of
from support.database import SECRET_KEY, environment
from support.tenants import add_estate
from support.waiting import eventually

FULL = {
    "prompt": "Say hi",
    "expected_response": "hi",
    "external_id": "a-1",
    "behaviour": "politeness",
    "metrics": [{"name": "contains", "parameters": {"value": "hi"}}],
    "priority": 3,
    "language_code": "pt-BR",
}


@pytest.fixture
def owner(database, tenant):
    return bearer(database, tenant)


def make(client, headers, **values) -> dict:
    response = client.post("/tests", json={"prompt": "p"} | values, headers=headers)
    assert response.status_code == 201, response.text
    return response.json()


def test_a_test_is_created_read_changed_and_deleted(client, owner, tenant):
    made = make(client, owner, **FULL)
    assert {key: made[key] for key in FULL} == FULL
    assert made["organization_id"] == str(tenant.organization_id)
    address = f"/tests/{made['id']}"
    changed = client.patch(address, json={"prompt": "new", "behaviour": None, "metrics": []}, headers=owner).json()
    assert (changed["prompt"], changed["behaviour"], changed["metrics"], changed["priority"]) == ("new", None, [], 3)
    assert client.get(address, headers=owner).json() == changed
    assert client.delete(address, headers=owner).status_code == 204
    problem_of(client.get(address, headers=owner), 404, "not_found")


@pytest.mark.parametrize(
    ("values", "where"),
    [
        ({"prompt": ""}, "body.prompt"),
        ({"prompt": " \n "}, "body.prompt"),
        ({"prompt": None}, "body.prompt"),
        ({"prompt": 5}, "body.prompt"),
        ({"priority": 10**9}, "body.priority"),
        ({"priority": 1.5}, "body.priority"),
        ({"language_code": "english please"}, "body.language_code"),
        ({"external_id": "x" * 201}, "body.external_id"),
        ({"metrics": {}}, "body.metrics"),
        ({"metrics": [{"name": "regex", "parameters": {"pattern": "("}}]}, "metrics[0].parameters.pattern"),
        ({"user_id": str(uuid4())}, "body.user_id"),
    ],
)
def test_a_value_that_cannot_be_accepted_is_refused_with_its_field(client, owner, values, where):
    made = make(client, owner)
    for response in (
        client.post("/tests", json={"prompt": "p"} | values, headers=owner),
        client.patch(f"/tests/{made['id']}", json=values, headers=owner),
    ):
        assert response.status_code == 422
        assert response.json()["errors"][0]["where"] == where
    assert client.get(f"/tests/{made['id']}", headers=owner).json() == made


def test_a_prompt_longer_than_the_installation_accepts_is_refused(client, database, owner):
    with environment(DATABASE_URL=database.url, RHESIS_SECRET_KEYS=SECRET_KEY, RHESIS_PROMPT_MAX_BYTES="8"):
        make(client, owner, prompt="ääää")
        for field in ("prompt", "expected_response"):
            response = client.post("/tests", json={"prompt": "p", field: "äääää"}, headers=owner)
            assert problem_of(response, 422, "invalid_input")["errors"][0]["where"] == f"body.{field}"


def test_nul_and_lone_surrogates_become_visible_replacements(client, owner):
    body = b'{"prompt": "a\\u0000b\\ud83d", "metrics": [{"name": "contains", "parameters": {"value": "\\u0000"}}]}'
    made = client.post("/tests", content=body, headers=owner | {"Content-Type": "application/json"}).json()
    assert made["prompt"] == "a\ufffdb\ufffd"
    assert made["metrics"][0]["parameters"]["value"] == "\ufffd"


def test_a_colleague_reads_but_does_not_change(client, database, tenant, owner):
    made = make(client, owner)
    colleague = bearer(database, colleague_of(database, tenant))
    assert client.get(f"/tests/{made['id']}", headers=colleague).json() == made
    problem_of(client.patch(f"/tests/{made['id']}", json={"prompt": "x"}, headers=colleague), 403, "forbidden")
    problem_of(client.delete(f"/tests/{made['id']}", headers=colleague), 403, "forbidden")


def test_a_test_of_an_open_run_is_not_deleted_and_the_answer_names_the_run(client, database, tenant, owner):
    estate = add_estate(database, tenant)
    address = f"/tests/{estate.world.test_ids[1]}"
    assert str(estate.run_id) in problem_of(client.delete(address, headers=owner), 409, "in_use")["detail"]
    database.fetch("UPDATE rhesis.test_run SET status = 'Completed' WHERE id = %s", estate.run_id)
    assert client.delete(address, headers=owner).status_code == 204
    members = client.get(f"/test_sets/{estate.world.test_set_id}/tests", headers=owner).json()
    assert [member["id"] for member in members] == [str(estate.world.test_ids[0])]


def test_a_deletion_waits_for_whoever_holds_the_test_for_a_run(client, database, tenant, owner):
    """A run that is being created keeps its tests: the deletion sees the run once that is committed."""
    estate = add_estate(database, tenant)
    database.fetch("DELETE FROM rhesis.test_run")
    test_id = estate.world.test_ids[0]
    answers = []
    with psycopg.connect(database.url) as creator:
        creator.execute("SELECT FROM rhesis.test WHERE id = %s FOR KEY SHARE", (test_id,))
        other = make_client(database, client.app)
        thread = threading.Thread(target=lambda: answers.append(other.delete(f"/tests/{test_id}", headers=owner)))
        thread.start()
        eventually(
            lambda: database.fetch("SELECT count(*) FROM pg_locks WHERE NOT granted")[0][0], within=10, what="the wait"
        )
        creator.execute(
            "INSERT INTO rhesis.test_run (organization_id, user_id, test_configuration_id, task_id, body_task_id, deadline,"
            " test_ids, total_tests) VALUES (%s, %s, %s, 'a', 'b', now() + interval '1 hour', %s, 1)",
            (tenant.organization_id, tenant.user_id, estate.world.configuration_id, [test_id]),
        )
    thread.join(10)
    problem_of(answers[0], 409, "in_use")


def test_the_list_is_sorted_filtered_and_counted(client, owner):
    for number in range(5):
        make(client, owner, prompt=f"p{number}", priority=number, behaviour="odd" if number % 2 else "even")
    query = {"sort_by": "priority", "sort_order": "desc", "limit": 2, "$filter": "behaviour eq 'even'"}
    response = client.get("/tests", params=query, headers=owner)
    assert ([test["priority"] for test in response.json()], response.headers["X-Total-Count"]) == ([4, 2], "3")
