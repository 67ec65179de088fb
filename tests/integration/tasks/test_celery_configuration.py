"""The Celery application: complete, explicit, and never on a broker that nobody named."""

import importlib
import subprocess
import sys

import pytest
from celery.app import defaults
from celery.utils.functional import maybe_list
from sqlalchemy import make_url

from rhesis.backend import worker
from rhesis.backend.errors import DatabaseUnavailable
from rhesis.backend.worker import app, celery_configuration
from support.database import environment

DOCUMENTED_TASKS = {
    "rhesis.backend.tasks.echo",
    "rhesis.backend.tasks.manual_db_example",
    "rhesis.backend.tasks.count_test_sets",
    "rhesis.backend.tasks.get_test_configuration",
    "rhesis.backend.tasks.execute_test_configuration",
    "rhesis.backend.tasks.execute_single_test",
    "rhesis.backend.tasks.execution.orchestration.execute_tests_in_order",
    "rhesis.backend.tasks.execution.results.collect_results",
    "rhesis.backend.tasks.execution.results.close_failed_run",
}
EXECUTION = {
    "rhesis.backend.tasks.execute_single_test",
    "rhesis.backend.tasks.execution.orchestration.execute_tests_in_order",
}


@pytest.fixture
def registered(database) -> set[str]:
    app.loader.import_default_modules()
    return {name for name in app.tasks if name.startswith("rhesis.")}


def test_every_task_is_registered_under_its_documented_name(registered):
    assert registered == DOCUMENTED_TASKS


def test_every_task_belongs_to_the_base_class(registered):
    from rhesis.backend.tasks import BaseTask

    assert [name for name in registered if not isinstance(app.tasks[name], BaseTask)] == []


def test_the_modules_that_are_listed_hold_all_tasks_there_are(registered, project):
    """A task in a module that is not listed would be unknown to every worker."""
    source = project / "src" / "rhesis" / "backend"
    with_tasks = {
        ".".join(path.relative_to(project / "src").with_suffix("").parts)
        for path in source.rglob("*.py")
        if "@app.task" in path.read_text(encoding="utf-8")
    }
    assert with_tasks <= set(worker.TASK_MODULES)
    assert {app.tasks[name].__module__ for name in registered} == with_tasks


def test_every_route_leads_a_registered_task_to_a_declared_queue(registered):
    routes = celery_configuration()["task_routes"]
    assert routes.keys() == EXECUTION
    assert [queue.name for queue in app.conf.task_queues] == ["celery", "execution"]
    for name in registered:
        expected = "execution" if name in EXECUTION else "celery"
        assert app.amqp.router.route({}, name)["queue"].name == expected


def test_each_queue_gets_its_own_messages_alone(database):
    queues = app.conf.task_queues
    assert len({(queue.exchange.name, queue.routing_key) for queue in queues}) == len(queues) == 2


def test_what_is_configured_is_known_to_celery(database):
    """A misspelt setting is ignored by Celery without a word."""
    assert celery_configuration().keys() <= defaults.SETTING_KEYS | {"include"}


def test_annotations_and_serializers_are_what_a_shared_queue_needs(registered):
    assert set(app.conf.task_annotations) <= registered
    assert (app.conf.task_serializer, app.conf.result_serializer, maybe_list(app.conf.accept_content)) == (
        "json", "json", ["json"],
    )  # fmt: skip


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"BROKER_URL": "redis://localhost:1/0"},
        {"CELERY_RESULT_BACKEND": "redis://localhost:1/0"},
        {"BROKER_URL": ""},
    ],
)
def test_no_url_is_ever_missing(database, variables):
    with environment(**variables):
        settings = celery_configuration()
        urls = [settings["broker_url"], settings["result_backend"], app.conf.broker_url, app.conf.result_backend]
    assert not [url for url in urls if not url or "amqp" in url], "Celery would try a RabbitMQ of this machine"
    given = variables.get("BROKER_URL")
    assert given is None or given == "" or settings["broker_url"] == given
    assert "redis" in urls[1] or urls[1].startswith("db+postgresql")


def test_a_configuration_that_cannot_be_made_is_an_error_and_not_celerys_default():
    """Celery logs what the handler of a signal raises, and would go on with a RabbitMQ of this machine."""
    with environment(DATABASE_URL="postgresql://nobody@127.0.0.1:1/nowhere"):
        with pytest.raises(DatabaseUnavailable):
            _ = app.conf.broker_url
        with pytest.raises(DatabaseUnavailable):
            app.connection().as_uri()


def test_importing_the_application_connects_to_nothing(project):
    """Without a database, a settings file and a server: the import alone works, as does asking for the version."""
    code = (
        "import socket; socket.socket.connect = None\n"
        "from rhesis.backend.worker import app; from rhesis.backend.tasks import BaseTask, echo, task_launcher\n"
        "assert not app.configured"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=project, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_what_celery_shows_of_its_urls_hides_the_password(database):
    given = make_url(database.url)
    password = given.password or "secret-word"
    with environment(DATABASE_URL=given.set(password=password).render_as_string(hide_password=False)):
        assert password in app.conf.broker_url
        shown = [app.connection().as_uri(), app.backend.as_uri(), app.bugreport(), str(app.conf.humanize())]
    assert not [text for text in shown if password in text]


def test_the_documented_imports_work():
    module = importlib.import_module("rhesis.backend.tasks")
    for name in module.__all__:
        assert getattr(module, name) is not None
    with pytest.raises(AttributeError, match="no_such_task"):
        _ = module.no_such_task
