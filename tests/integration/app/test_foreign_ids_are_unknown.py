"""Whatever route is asked for another organization's object, the answer is the one for an object that never was."""

import re
from collections.abc import Iterator
from uuid import uuid4

import pytest

from rhesis.backend.app.main import create_app
from support.api import bearer, problem_of
from support.tenants import Estate, add_estate, fingerprint

# Only superusers may ask here at all, and for them these objects are not foreign.
SUPERUSER_ROUTES = ("/organizations", "/users")
BODIES = {("POST", "/test_sets/{test_set_id}/tests"): {"test_ids": [str(uuid4())]}}


def routes_with_ids() -> list[tuple[str, str]]:
    """Return method and path of every route that names an object."""
    found = []
    for path, methods in create_app().openapi()["paths"].items():
        if "{" in path and not path.startswith(SUPERUSER_ROUTES):
            found += [(method.upper(), path) for method in methods]
    return sorted(found)


ROUTES = routes_with_ids()


def ids_of(estate: Estate, database) -> dict[str, str]:
    ((task_id,),) = database.fetch(
        "SELECT task_id FROM rhesis.task WHERE organization_id = %s", estate.tenant.organization_id
    )
    ((token_id,),) = database.fetch(
        "SELECT id FROM rhesis.token WHERE organization_id = %s AND prefix = 'rh_xxxxx'", estate.tenant.organization_id
    )
    return {
        "endpoint_id": str(estate.world.endpoint_id),
        "test_id": str(estate.world.test_ids[0]),
        "test_set_id": str(estate.world.test_set_id),
        "test_configuration_id": str(estate.world.configuration_id),
        "test_run_id": str(estate.run_id),
        "test_result_id": str(estate.result_id),
        "task_id": task_id,
        "token_id": str(token_id),
    }


def filled(path: str, ids: dict[str, str]) -> str:
    return re.sub(r"\{(\w+)\}", lambda match: ids[match.group(1)], path)


def masked(text: str, ids: dict[str, str]) -> str:
    for value in ids.values():
        text = text.replace(value, "ID")
    return text


@pytest.fixture
def stranger(database, other_tenant):
    return bearer(database, other_tenant)


@pytest.fixture
def estate(database, tenant) -> Estate:
    return add_estate(database, tenant)


def answers(client, headers, ids: dict[str, str]) -> Iterator[tuple[str, dict]]:
    for method, path in ROUTES:
        body = BODIES.get((method, path), {}) if method in {"POST", "PATCH", "PUT"} else None
        yield f"{method} {path}", client.request(method, filled(path, ids), json=body, headers=headers)


def test_the_walk_covers_the_routes_of_every_kind_of_object():
    assert {path.split("/")[1] for _, path in ROUTES} >= {
        "endpoints",
        "tests",
        "test_sets",
        "test_configurations",
        "test_runs",
        "test_results",
        "tasks",
        "tokens",
    }
    assert len(ROUTES) >= 25


@pytest.mark.parametrize("superuser", [False, True], ids=["ordinary user", "superuser"])
def test_a_foreign_id_is_404_everywhere_and_answered_like_one_that_never_was(client, database, estate, superuser):
    headers = bearer(database, database.add_tenant("strangers", superuser=superuser))
    foreign = ids_of(estate, database)
    unknown = {name: str(uuid4()) for name in foreign}
    with database.admin() as connection:
        before = fingerprint(connection, estate.tenant.organization_id)
        for (where, answer), (_, other) in zip(
            answers(client, headers, foreign), answers(client, headers, unknown), strict=True
        ):
            if superuser and "/tokens/" in where:
                continue
            problem_of(answer, 404, "not_found")
            assert masked(answer.text, foreign) == masked(other.text, unknown), where
        assert superuser or fingerprint(connection, estate.tenant.organization_id) == before


def test_a_foreign_test_is_not_found_in_ones_own_set(client, stranger, estate):
    own = client.post("/test_sets", json={"name": "mine"}, headers=stranger).json()["id"]
    address = f"/test_sets/{own}/tests/{estate.world.test_ids[0]}"
    problem_of(client.delete(address, headers=stranger), 404, "not_found")


@pytest.mark.parametrize("field", ["endpoint_id", "test_set_id"])
def test_a_foreign_id_in_a_configuration_is_refused_like_one_that_never_was(
    client, database, stranger, estate, other_tenant, field
):
    own = add_estate(database, other_tenant)
    good = {"endpoint_id": str(own.world.endpoint_id), "test_set_id": str(own.world.test_set_id)}
    texts = []
    for value in (ids_of(estate, database)[field], str(uuid4())):
        for method, address in (("POST", ""), ("PATCH", f"/{own.world.configuration_id}")):
            answer = client.request(
                method, f"/test_configurations{address}", json=good | {field: value}, headers=stranger
            )
            assert problem_of(answer, 422, "unknown_reference")["errors"][0]["where"] == f"body.{field}"
            texts.append(answer.text.replace(value, "ID"))
    assert len(set(texts)) == 1


def test_lists_hold_nothing_of_another_organization(client, stranger, estate):
    for path in ("endpoints", "tests", "test_sets", "test_configurations", "test_runs", "test_results"):
        answer = client.get(f"/{path}", headers=stranger)
        assert (answer.json(), answer.headers["X-Total-Count"]) == ([], "0"), path
    of_run = client.get("/test_results", params={"test_run_id": str(estate.run_id)}, headers=stranger)
    assert of_run.json() == []
