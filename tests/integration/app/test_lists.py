"""Lists: a part in a stable order, the whole's length, and a filter within the tenant."""

from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from rhesis.backend.app.database import tenant_session
from rhesis.backend.app.models import Test
from rhesis.backend.app.repositories.listing import Fields, ListParameters, Page, SortOrder, page
from rhesis.backend.errors import InvalidInput
from support.api import bearer, problem_of
from support.database import Tenant, TestDatabase

FIELDS: Fields = {"id": Test.id, "prompt": Test.prompt, "priority": Test.priority, "created_at": Test.created_at,
                  "behaviour": Test.behaviour}  # fmt: skip


@pytest.fixture
def tests(database: TestDatabase, tenant: Tenant, other_tenant: Tenant) -> Tenant:
    """Insert ten tests of equal age for one tenant, one for another, and return the first tenant."""
    for owner, count in ((tenant, 10), (other_tenant, 1)):
        database.fetch(
            "INSERT INTO rhesis.test (organization_id, user_id, prompt, priority, behaviour, created_at) "
            "SELECT %s, %s, 'prompt ' || n, n / 5, CASE WHEN n = 3 THEN '50%%_off' END, '2026-01-31Z' "
            "FROM generate_series(0, %s) n",
            owner.organization_id,
            owner.user_id,
            count - 1,
        )
    return tenant


def listed(tenant: Tenant, **parameters: Any) -> Page[Test]:
    with tenant_session(tenant.organization_id, tenant.user_id) as db:
        statement = select(Test).where(Test.organization_id == tenant.organization_id)
        return page(db, statement, ListParameters(**parameters), fields=FIELDS)


def test_pages_of_equal_keys_never_overlap_or_miss_a_row(tests: Tenant):
    found = [listed(tests, skip=skip, limit=3, sort_by="priority") for skip in range(0, 10, 3)]
    assert {part.total for part in found} == {10}
    keys = [(row.priority, row.id) for part in found for row in part.items]
    assert len(keys) == 10
    assert keys == sorted(keys, reverse=True)


def test_the_order_is_newest_first_or_as_asked(tests: Tenant):
    prompts = [row.prompt for row in listed(tests, sort_by="prompt", sort_order=SortOrder.ASCENDING).items]
    assert prompts == sorted(prompts)
    assert [row.prompt for row in listed(tests, sort_by="prompt").items] == prompts[::-1]
    ids = [row.id for row in listed(tests, sort_by="id", sort_order=SortOrder.ASCENDING).items]
    assert ids == sorted(ids)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("priority eq 1", 5),
        ("priority ge 1 and prompt ne 'prompt 9'", 4),
        ("prompt eq 'prompt 3'", 1),
        ("contains(behaviour, '%_o')", 1),
        ("contains(behaviour, '_%')", 0),
        ("startswith(prompt, 'prompt')", 10),
        ("behaviour eq null", 9),
        ("behaviour ne 'x'", 10),
        ("created_at gt 2026-01-31T00:00:00Z", 0),
        ("created_at le '2026-01-31T01:00:00+01:00'", 10),
        ("prompt eq 'x'' or ''1''=''1'", 0),
        ("   ", 10),
    ],
)
def test_a_filter_selects_within_the_tenant_and_the_total_follows(tests: Tenant, text: str, expected: int):
    found = listed(tests, filter=text)
    assert (len(found.items), found.total) == (expected, expected)


def test_a_field_that_is_not_listed_cannot_be_sorted_by(tests: Tenant):
    with pytest.raises(InvalidInput):
        listed(tests, sort_by="organization_id")


@pytest.mark.parametrize(
    "query",
    [
        {"skip": -1}, {"skip": 2**40}, {"limit": 0}, {"limit": 1001}, {"limit": "many"}, {"sort_order": "up"},
        {"sort_by": "digest"}, {"sort_by": "id; DROP"}, {"filter": "digest eq 'x'"}, {"$filter": "name eq"},
        {"filter": "name eq 'a'", "$filter": "name eq 'a'"}, {"filter": "name eq '" + "x" * 2000 + "'"},
    ],
)  # fmt: skip
def test_a_list_that_cannot_be_given_is_422_and_says_where(
    client: TestClient, database: TestDatabase, tenant: Tenant, query: dict[str, Any]
):
    answer = client.get("/tokens", params=query, headers=bearer(database, tenant))
    problem = problem_of(answer, 422, answer.json()["code"])
    assert problem["code"] in ("invalid_input", "invalid_filter")
    assert problem["errors"]


def test_a_list_tells_the_whole_length(client: TestClient, database: TestDatabase, tenant: Tenant):
    authenticated = bearer(database, tenant)
    for number in range(4):
        client.post("/tokens", json={"name": f"token {number}"}, headers=authenticated)
    query = {"$filter": "name startswith 'token'", "sort_by": "name", "sort_order": "asc", "skip": 1, "limit": 2}
    answer = client.get("/tokens", params=query, headers=authenticated)
    assert answer.headers["x-total-count"] == "4"
    assert [found["name"] for found in answer.json()] == ["token 1", "token 2"]
