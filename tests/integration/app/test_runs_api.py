"""Runs and results over HTTP."""

import csv
import io
from uuid import UUID, uuid4
from xml.etree import ElementTree as ET

import pytest
from psycopg.types.json import Jsonb

from rhesis.backend.app.database import tenant_session
from rhesis.backend.app.repositories import run_reports
from rhesis.backend.app.services.export_pages import pages_of_results
from rhesis.backend.domain.actor import Actor
from support.api import bearer, problem_of
from support.colleagues import colleague_of
from support.tenants import add_estate
from support.world import add_world, run_row


@pytest.fixture
def owner(database, tenant):
    return bearer(database, tenant)


@pytest.fixture
def estate(database, tenant):
    return add_estate(database, tenant)


def add_ended_run(database, world, outcomes: list[tuple[str, dict, dict]]) -> UUID:
    """Insert a run with one result for each test: status, output, metrics."""
    run_id, organization_id = uuid4(), world.tenant.organization_id
    database.fetch(
        "INSERT INTO rhesis.test_run (id, organization_id, user_id, test_configuration_id, name, task_id, body_task_id,"
        " deadline, test_ids, total_tests, status, started_at) VALUES (%s, %s, %s, %s, 'a <run>', %s, 'b', now(), %s, %s,"
        " 'Partial', '2026-01-02T03:04:05Z')",
        run_id,
        organization_id,
        world.tenant.user_id,
        world.configuration_id,
        str(uuid4()),
        list(world.test_ids),
        len(world.test_ids),
    )
    for test_id, (status, output, metrics) in zip(world.test_ids, outcomes, strict=True):
        database.fetch(
            "INSERT INTO rhesis.test_result (organization_id, test_run_id, test_id, test_configuration_id, status, error_type,"
            " execution_time_ms, test_output, test_metrics) VALUES (%s, %s, %s, %s, %s, %s, 1500, %s, %s)",
            organization_id,
            run_id,
            test_id,
            world.configuration_id,
            status,
            output.get("error_type"),
            Jsonb(output),
            Jsonb(metrics),
        )
    return run_id


FAILED_METRIC = {"metrics": {"contains": {"is_successful": False, "reason": 'The answer lacks "ok" & more.'}}}
OUTCOMES = [
    ("Pass", {"output": "ok"}, {"metrics": {"contains": {"is_successful": True, "reason": "fine"}}}),
    ("Fail", {"output": "=no\x0b<&>\ufffe"}, FAILED_METRIC),
    ("Error", {"error": True, "error_type": "network_error", "message": "the endpoint cannot be reached"}, {}),
]


@pytest.fixture
def ended(database, tenant):
    world = add_world(database, tenant, prompts=["first", "=second\x1b", "third"])
    return world, add_ended_run(database, world, OUTCOMES)


def test_a_run_is_listed_shown_and_its_progress_counted(client, owner, estate):
    run = client.get(f"/test_runs/{estate.run_id}", headers=owner).json()
    assert (run["status"], run["total_tests"]) == ("Progress", 2)
    assert client.get("/test_runs", params={"$filter": "status eq 'Progress'"}, headers=owner).json() == [run]
    progress = client.get(f"/test_runs/{estate.run_id}/progress", headers=owner).json()
    assert {key: progress[key] for key in ("completed", "passed", "total", "percent", "late", "status")} == {
        "completed": 1,
        "passed": 1,
        "total": 2,
        "percent": 50.0,
        "late": False,
        "status": "Progress",
    }


def test_results_are_listed_for_a_run_and_shown_one_by_one(client, owner, estate):
    (result,) = client.get("/test_results", params={"test_run_id": str(estate.run_id)}, headers=owner).json()
    assert (result["id"], result["status"], result["test_output"]) == (
        str(estate.result_id),
        "Pass",
        {"output": "an answer"},
    )
    assert client.get(f"/test_results/{estate.result_id}", headers=owner).json() == result
    page = client.get(f"/test_runs/{estate.run_id}/results", params={"limit": 1}, headers=owner)
    assert (page.json(), page.headers["X-Total-Count"]) == ([result], "1")
    assert client.get("/test_results", params={"test_run_id": str(uuid4())}, headers=owner).json() == []


def test_cancelling_closes_the_run_with_who_and_why_and_works_once(client, database, tenant, owner, estate):
    address = f"/test_runs/{estate.run_id}/cancel"
    cancelled = client.post(address, json={"reason": "wrong endpoint"}, headers=owner).json()
    assert cancelled["status"] == "Cancelled"
    assert str(tenant.user_id) in cancelled["error"]
    assert "wrong endpoint" in cancelled["error"]
    problem_of(client.post(address, headers=owner), 409, "not_open")
    assert len(client.get(f"/test_runs/{estate.run_id}/results", headers=owner).json()) == 2


def test_a_colleague_sees_a_run_but_does_not_cancel_repeat_or_delete_it(client, database, tenant, ended):
    _, run_id = ended
    colleague = bearer(database, colleague_of(database, tenant))
    assert client.get(f"/test_runs/{run_id}", headers=colleague).status_code == 200
    for response in (
        client.post(f"/test_runs/{run_id}/cancel", headers=colleague),
        client.post(f"/test_runs/{run_id}/rerun", headers=colleague),
        client.delete(f"/test_runs/{run_id}", headers=colleague),
    ):
        problem_of(response, 403, "forbidden")


def test_an_open_run_is_not_deleted_and_an_ended_one_goes_with_its_results(client, database, owner, estate):
    address = f"/test_runs/{estate.run_id}"
    problem_of(client.delete(address, headers=owner), 409, "still_open")
    client.post(f"{address}/cancel", headers=owner)
    assert client.delete(address, headers=owner).status_code == 204
    problem_of(client.get(address, headers=owner), 404, "not_found")
    assert database.fetch("SELECT (SELECT count(*) FROM rhesis.test_result), (SELECT count(*) FROM rhesis.task)") == [
        (0, 0)
    ]


def test_a_rerun_repeats_what_did_not_pass(client, database, owner, ended):
    world, run_id = ended
    response = client.post(f"/test_runs/{run_id}/rerun", headers=owner)
    assert response.status_code == 202, response.text
    run = run_row(database, UUID(response.json()["test_run_id"]))
    assert (run["rerun_of"], set(run["test_ids"])) == (str(run_id), {str(test_id) for test_id in world.test_ids[1:]})


def test_an_open_run_is_not_repeated(client, owner, estate):
    problem_of(client.post(f"/test_runs/{estate.run_id}/rerun", headers=owner), 409, "still_open")


def test_results_as_csv_stand_in_the_order_of_the_tests_with_formulas_disarmed(client, owner, ended):
    world, run_id = ended
    response = client.get(f"/test_runs/{run_id}/results", params={"format": "csv"}, headers=owner)
    assert response.headers["content-disposition"] == f'attachment; filename="test_run_{run_id}.csv"'
    rows = list(csv.DictReader(io.StringIO(response.text, newline="")))
    assert [(row["test_id"], row["status"]) for row in rows] == [
        (str(test_id), status) for test_id, (status, _, _) in zip(world.test_ids, OUTCOMES, strict=True)
    ]
    assert (rows[1]["prompt"], rows[1]["output"]) == ("'=second\x1b", "'=no\x0b<&>\ufffe")
    assert (rows[2]["error_type"], rows[2]["error"]) == ("network_error", "the endpoint cannot be reached")
    raw = client.get(f"/test_runs/{run_id}/results", params={"format": "csv", "raw": "true"}, headers=owner).text
    assert "\r\n" + str(world.test_ids[1]) + ",,=second" in raw


def test_results_as_junit_are_well_formed_whatever_the_answers_hold(client, owner, ended):
    world, run_id = ended
    response = client.get(f"/test_runs/{run_id}/results", params={"format": "junit"}, headers=owner)
    assert response.headers["content-type"] == "application/xml"
    suite = ET.fromstring(response.content).find("testsuite")
    assert (suite.get("name"), suite.get("tests"), suite.get("failures"), suite.get("errors")) == (
        "a <run>",
        "3",
        "1",
        "1",
    )
    assert (suite.get("time"), suite.get("timestamp")) == ("4.500", "2026-01-02T03:04:05+00:00")
    passed, failed, broken = suite.findall("testcase")
    assert (list(passed), passed.get("time")) == ([], "1.500")
    assert failed.get("name") == f"{world.test_ids[1]}: =second\ufffd"
    assert failed.find("failure").get("message") == 'contains: The answer lacks "ok" & more.'
    assert "=no\ufffd<&>\ufffd" in failed.find("failure").text
    assert broken.find("error").get("message") == "network_error: the endpoint cannot be reached"


def test_results_of_a_test_that_was_deleted_are_still_reported(client, owner, ended):
    world, run_id = ended
    assert client.delete(f"/tests/{world.test_ids[0]}", headers=owner).status_code == 204
    junit = client.get(f"/test_runs/{run_id}/results", params={"format": "junit"}, headers=owner)
    assert ET.fromstring(junit.content).find("testsuite/testcase").get("name") == f"{world.test_ids[0]}: deleted test"


def test_long_answers_take_several_pages_and_none_is_lost(database, tenant):
    world = add_world(database, tenant, prompts=["p"] * 20)
    # Hex digits hardly compress, so that the size as stored is the size of the text.
    answer = "".join(uuid4().hex for _ in range(10_000))
    run_id = add_ended_run(database, world, [("Pass", {"output": answer}, {})] * 20)
    actor = Actor(tenant.user_id, tenant.organization_id)
    pages = list(pages_of_results(actor, run_id, 20))
    assert len(pages) > 2
    assert [result.test_id for page in pages for result in page] == list(world.test_ids)


def test_a_report_goes_on_beyond_the_first_32767_tests(database, tenant, ended):
    _, run_id = ended
    with tenant_session(tenant.organization_id, tenant.user_id) as db:
        assert run_reports.results_after(db, tenant.organization_id, run_id, 40_000) == []


def test_places_without_a_result_are_passed_over(database, tenant):
    world = add_world(database, tenant, prompts=["p"] * 1100)
    run_id = add_ended_run(database, world, [("Pass", {}, {})] * 1100)
    kept = {world.test_ids[0], world.test_ids[1099]}
    database.fetch("DELETE FROM rhesis.test_result WHERE NOT test_id = ANY (%s)", list(kept))
    actor = Actor(tenant.user_id, tenant.organization_id)
    assert {result.test_id for page in pages_of_results(actor, run_id, 1100) for result in page} == kept


def test_an_unknown_format_is_refused(client, owner, estate):
    response = client.get(f"/test_runs/{estate.run_id}/results", params={"format": "xlsx"}, headers=owner)
    assert problem_of(response, 422, "invalid_input")["errors"][0]["where"] == "query.format"
