"""Test configurations over HTTP, and executing them."""

from uuid import UUID, uuid4

import pytest

from support.api import bearer, problem_of
from support.colleagues import colleague_of
from support.database import SECRET_KEY, environment
from support.tenants import add_estate
from support.world import add_world, run_row


@pytest.fixture
def owner(database, tenant):
    return bearer(database, tenant)


@pytest.fixture
def world(database, tenant):
    return add_world(database, tenant, prompts=["a", "b"])


def test_a_configuration_is_created_read_changed_and_deleted(client, database, tenant, owner, world):
    body = {
        "name": "nightly",
        "endpoint_id": str(world.endpoint_id),
        "test_set_id": str(world.test_set_id),
        "attributes": {"execution_mode": "Sequential", "note": "x"},
    }
    response = client.post("/test_configurations", json=body, headers=owner)
    assert response.status_code == 201
    made = response.json()
    assert {key: made[key] for key in body} == body
    other = add_world(database, tenant, prompts=["c"])
    address = f"/test_configurations/{made['id']}"
    values = {"test_set_id": str(other.test_set_id), "attributes": {}}
    changed = client.patch(address, json=values, headers=owner).json()
    assert {key: changed[key] for key in values} == values
    assert client.get(address, headers=owner).json() == changed
    assert client.delete(address, headers=owner).status_code == 204
    problem_of(client.get(address, headers=owner), 404, "not_found")


@pytest.mark.parametrize(
    ("values", "where"),
    [
        ({"attributes": {"execution_mode": "parallel"}}, "body.attributes"),
        ({"attributes": []}, "body.attributes"),
        ({"endpoint_id": "x"}, "body.endpoint_id"),
        ({"endpoint_id": None}, "body.endpoint_id"),
        ({"metrics": ["unknown"]}, "metrics[0]"),
        ({"organization_id": str(uuid4())}, "body.organization_id"),
    ],
)
def test_a_value_that_cannot_be_accepted_is_refused_with_its_field(client, owner, world, values, where):
    good = {"endpoint_id": str(world.endpoint_id), "test_set_id": str(world.test_set_id)}
    for response in (
        client.post("/test_configurations", json=good | values, headers=owner),
        client.patch(f"/test_configurations/{world.configuration_id}", json=values, headers=owner),
    ):
        assert response.status_code == 422
        assert response.json()["errors"][0]["where"].startswith(where)


def test_a_colleagues_hidden_set_cannot_be_configured_and_looks_as_if_it_never_was(
    client, database, tenant, owner, world
):
    database.fetch("UPDATE rhesis.test_set SET visibility = 'user' WHERE id = %s", world.test_set_id)
    colleague = bearer(database, colleague_of(database, tenant))
    texts = set()
    for value in (str(world.test_set_id), str(uuid4())):
        body = {"endpoint_id": str(world.endpoint_id), "test_set_id": value}
        answer = client.post("/test_configurations", json=body, headers=colleague)
        problem_of(answer, 422, "unknown_reference")
        texts.add(answer.text.replace(value, "ID"))
    assert len(texts) == 1


def test_a_configuration_with_runs_is_not_deleted_and_the_answer_names_them(client, database, tenant, owner):
    estate = add_estate(database, tenant)
    address = f"/test_configurations/{estate.world.configuration_id}"
    assert str(estate.run_id) in problem_of(client.delete(address, headers=owner), 409, "in_use")["detail"]


def test_executing_commits_the_run_publishes_its_task_and_says_where_it_is(client, database, tenant, owner, world):
    response = client.post(f"/test_configurations/{world.configuration_id}/execute", headers=owner)
    assert response.status_code == 202, response.text
    answer = response.json()
    run = run_row(database, UUID(answer["test_run_id"]))
    assert answer == {
        "task_id": run["task_id"],
        "test_run_id": run["id"],
        "test_configuration_id": str(world.configuration_id),
        "endpoint_id": str(world.endpoint_id),
        "test_set_id": str(world.test_set_id),
        "user_id": str(tenant.user_id),
        "status": "submitted",
    }
    assert (run["status"], run["test_ids"]) == ("Queued", [str(test_id) for test_id in world.test_ids])
    assert response.headers["Location"] == f"/test_runs/{run['id']}"
    assert client.get(f"/tasks/{answer['task_id']}", headers=owner).json()["status"] == "PENDING"
    assert client.get(response.headers["Location"], headers=owner).json()["status"] == "Queued"


def test_a_deadline_may_be_asked_for_within_bounds(client, database, owner, world):
    address = f"/test_configurations/{world.configuration_id}/execute"
    run_id = client.post(address, json={"deadline_seconds": 60}, headers=owner).json()["test_run_id"]
    ((seconds,),) = database.fetch(
        "SELECT extract(epoch FROM deadline - created_at) FROM rhesis.test_run WHERE id = %s", run_id
    )
    assert seconds == 60
    for wrong in (0, 86_401, "soon"):
        problem_of(client.post(address, json={"deadline_seconds": wrong}, headers=owner), 422, "invalid_input")
    problem_of(client.post(address, json={"user_id": str(uuid4())}, headers=owner), 422, "invalid_input")


def test_an_empty_set_is_refused_and_leaves_no_run(client, database, tenant, owner):
    world = add_world(database, tenant, prompts=[])
    problem_of(
        client.post(f"/test_configurations/{world.configuration_id}/execute", headers=owner), 422, "empty_test_set"
    )
    assert database.fetch("SELECT count(*) FROM rhesis.test_run") == [(0,)]


def test_tests_without_any_metric_are_refused_by_name(client, database, tenant, owner):
    world = add_world(database, tenant, prompts=["a"], metrics=[])
    problem = problem_of(
        client.post(f"/test_configurations/{world.configuration_id}/execute", headers=owner), 422, "no_metric"
    )
    assert str(world.test_ids[0]) in problem["errors"][0]["where"]


def test_only_the_owner_or_a_superuser_executes(client, database, tenant, world):
    address = f"/test_configurations/{world.configuration_id}/execute"
    problem_of(client.post(address, headers=bearer(database, colleague_of(database, tenant))), 403, "forbidden")
    superuser = colleague_of(database, tenant, superuser=True)
    answer = client.post(address, headers=bearer(database, superuser))
    assert (answer.status_code, answer.json()["user_id"]) == (202, str(superuser.user_id))


def test_a_broker_out_of_reach_is_503_and_the_run_is_failed_with_the_reason(client, database, owner, world):
    with environment(DATABASE_URL=database.url, RHESIS_SECRET_KEYS=SECRET_KEY, BROKER_URL="redis://127.0.0.1:9/0"):
        answer = client.post(f"/test_configurations/{world.configuration_id}/execute", headers=owner)
    problem_of(answer, 503, "dispatch_failed")
    ((status, error),) = database.fetch("SELECT status, error FROM rhesis.test_run")
    assert status == "Failed"
    assert "dispatched" in error
