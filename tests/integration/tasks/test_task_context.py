"""Whose task it is: said once, in the headers, by the authenticated user, and never by the way."""

from typing import Any
from uuid import UUID, uuid4

import pytest

from rhesis.backend import tasks
from rhesis.backend.domain.actor import Actor
from rhesis.backend.errors import InvalidInput, TenantMismatch
from rhesis.backend.tasks import task_launcher
from rhesis.backend.worker import app
from support.tenants import add_estate

ORGANIZATION, USER, OTHER = str(uuid4()), str(uuid4()), str(uuid4())
TENANT = {"organization_id": ORGANIZATION, "user_id": USER}


@pytest.fixture
def eager(memory_broker):
    app.conf.task_always_eager = True
    app.conf.task_store_eager_result = False


def tenant_in(message: dict[str, Any]) -> tuple[object, object]:
    assert not {"organization_id", "user_id"} & message["kwargs"].keys()
    return message["headers"].get("organization_id"), message["headers"].get("user_id")


# --- publishing ----------------------------------------------------------------------------------------------------


def test_a_tenant_in_the_arguments_moves_to_the_headers(published):
    tasks.echo.apply_async(kwargs={"message": "x", **TENANT})
    tasks.echo.delay("x", **TENANT)
    tasks.echo.s("x", **TENANT).apply_async()
    tasks.echo.apply_async(("x",), TENANT, headers=None)
    tasks.echo.apply_async(("x",), {key: UUID(value) for key, value in TENANT.items()})
    assert [tenant_in(message) for message in published] == [(ORGANIZATION, USER)] * 5


def test_what_the_caller_passed_is_left_as_it_was(published):
    kwargs, headers = {"message": "x", **TENANT}, {"trace": "1"}
    tasks.echo.apply_async(kwargs=kwargs, headers=headers)
    tasks.echo.apply(kwargs=kwargs, headers=headers)
    assert (kwargs, headers) == ({"message": "x", **TENANT}, {"trace": "1"})
    assert published[0]["headers"]["trace"] == "1"


def test_a_signature_that_is_applied_twice_keeps_its_tenant(published):
    for signature in (tasks.echo.s("x", **TENANT), tasks.echo.s("x").set(headers=TENANT), tasks.echo.si("x", **TENANT)):
        signature.apply_async()
        signature.apply_async()
    assert [tenant_in(message) for message in published] == [(ORGANIZATION, USER)] * 6


def test_headers_win_over_arguments_as_a_whole(published):
    """A user of one source beside the organization of another would be nobody."""
    tasks.echo.apply_async(kwargs={"message": "x", **TENANT}, headers={"organization_id": OTHER})
    assert tenant_in(published[0]) == (OTHER, None)


def test_a_task_of_nobody_names_nobody(published):
    tasks.echo.delay("x")
    tasks.echo.apply_async(kwargs={"message": "x", "organization_id": None, "user_id": ""}, headers={})
    assert [tenant_in(message) for message in published] == [(None, None)] * 2


# --- launching for a user --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key", ["organization_id", "user_id", "headers", "queue", "link", "link_error", "countdown", "eta"]
)
def test_a_launch_refuses_what_only_the_service_decides(database, tenant, published, key):
    actor = Actor(tenant.user_id, tenant.organization_id)
    with pytest.raises(InvalidInput, match=key):
        task_launcher(tasks.echo, "x", current_user=actor, **{key: OTHER})
    assert published == []
    assert database.fetch("SELECT * FROM rhesis.task") == []


def test_a_launch_takes_the_tenant_from_the_user_and_notes_whose_task_it_is(database, tenant, published):
    result = task_launcher(tasks.echo, message="x", current_user=Actor(tenant.user_id, tenant.organization_id))
    assert tenant_in(published[0]) == (str(tenant.organization_id), str(tenant.user_id))
    assert published[0]["kwargs"] == {"message": "x"}
    rows = database.fetch("SELECT organization_id, user_id, task_id, name FROM rhesis.task")
    assert rows == [(tenant.organization_id, tenant.user_id, result.id, tasks.echo.name)]
    assert published[0]["headers"]["id"] == result.id


def test_a_launch_without_a_user_is_a_task_of_nobody(database, published):
    task_launcher(tasks.echo, "x")
    assert tenant_in(published[0]) == (None, None)
    assert database.fetch("SELECT * FROM rhesis.task") == []


# --- receiving -------------------------------------------------------------------------------------------------------


def said_by(organization_id: str, user_id: str) -> str:
    return f"Message: x, Organization: {organization_id}, User: {user_id}"


def test_a_task_knows_its_tenant_in_eager_mode(eager):
    assert tasks.echo.delay("x", **TENANT).get() == said_by(ORGANIZATION, USER)
    assert tasks.echo.apply(("x",), headers=TENANT).get() == said_by(ORGANIZATION, USER)
    assert tasks.echo.apply(("x",), TENANT).get() == said_by(ORGANIZATION, USER)
    assert tasks.echo.apply(("x",), {"organization_id": OTHER}, headers=TENANT).get() == said_by(ORGANIZATION, USER)
    assert tasks.echo.delay("x").get() == said_by("unknown", "unknown")


def test_a_worker_knows_the_tenant_and_headers_win_over_arguments(memory_broker, working):
    with working():
        assert tasks.echo.delay("x", **TENANT).get(timeout=20) == said_by(ORGANIZATION, USER)
        # Published by name, past our own class: the arguments arrive as they are.
        sent = app.send_task(tasks.echo.name, ("x",), TENANT)
        assert sent.get(timeout=20) == said_by(ORGANIZATION, USER)
        sent = app.send_task(tasks.echo.name, ("x",), {"organization_id": OTHER}, headers=TENANT)
        assert sent.get(timeout=20) == said_by(ORGANIZATION, USER)
        assert tasks.echo.delay("x").get(timeout=20) == said_by("unknown", "unknown")


def test_the_attributes_of_the_request_name_the_tenant_in_both_modes(memory_broker, working, define_task):
    def attributes(self):
        return [self.request.organization_id, self.request.user_id]

    task = define_task(attributes, bind=True)
    assert task.apply(kwargs=dict(TENANT)).get() == [ORGANIZATION, USER]
    with working():
        assert task.delay(**TENANT).get(timeout=20) == [ORGANIZATION, USER]
        assert task.delay().get(timeout=20) == [None, None]


def test_one_request_does_not_see_the_tenant_of_the_one_before(eager):
    tasks.echo.apply(("x",), headers=TENANT)
    assert tasks.echo.apply(("x",)).get() == said_by("unknown", "unknown")


# --- tasks that publish tasks ----------------------------------------------------------------------------------------


@pytest.fixture
def parent(define_task):
    def publish(self, **options):
        return tasks.echo.apply_async(("x",), **options).id

    return define_task(publish, bind=True)


def test_a_task_passes_its_tenant_on_to_what_it_publishes(memory_broker, working, parent):
    with working():
        child = app.AsyncResult(parent.apply_async(headers=TENANT).get(timeout=20))
        assert child.get(timeout=20) == said_by(ORGANIZATION, USER)
        again = app.AsyncResult(parent.delay(headers={"organization_id": ORGANIZATION}, **TENANT).get(timeout=20))
        assert again.get(timeout=20) == said_by(ORGANIZATION, "unknown")


def test_a_task_passes_its_tenant_on_in_eager_mode(eager, define_task):
    def nested():
        return tasks.echo.delay("x").result

    assert define_task(nested).apply(headers=TENANT).get() == said_by(ORGANIZATION, USER)


def test_a_task_may_not_publish_for_another_organization(published, working, parent):
    with working(), pytest.raises(TenantMismatch, match=f"{ORGANIZATION} may not publish for organization {OTHER}"):
        parent.apply_async(kwargs={"headers": {"organization_id": OTHER}}, headers=TENANT).get(timeout=20)
    assert [message["headers"]["task"] for message in published] == [parent.name]


def test_a_task_may_not_publish_for_another_organization_by_its_arguments_either(memory_broker, parent):
    with pytest.raises(TenantMismatch):
        parent.apply(kwargs={"kwargs": {"organization_id": OTHER}}, headers=TENANT).get()


# --- the documented tasks --------------------------------------------------------------------------------------------


def test_the_example_tasks_answer_for_their_tenant_alone(database, tenant, other_tenant, eager):
    world = add_estate(database, tenant).world
    own = {"organization_id": str(tenant.organization_id), "user_id": str(tenant.user_id)}
    foreign = {"organization_id": str(other_tenant.organization_id), "user_id": str(other_tenant.user_id)}
    configuration_id = str(world.configuration_id)
    assert tasks.count_test_sets.delay(**own).get() == {"count": 1, **own}
    assert tasks.count_test_sets.delay(**foreign).get() == {"count": 0, **foreign}
    assert tasks.count_test_sets.delay().get() == {"count": 0, "organization_id": "unknown", "user_id": "unknown"}
    assert tasks.get_test_configuration.delay(configuration_id, **own).get() == {"found": True, "id": configuration_id}
    assert tasks.get_test_configuration.delay(configuration_id, **foreign).get() == {"found": False, "id": None}
    assert tasks.get_test_configuration.delay(configuration_id).get() == {"found": False, "id": None}
    assert tasks.manual_db_example.delay(**own).get() == {"test_set_count": 1}
    assert tasks.manual_db_example.delay().get() == {"test_set_count": 0}
