"""The Celery application.

    celery -A rhesis.backend.worker.app worker --loglevel=INFO

Both `celery -A rhesis.backend.worker` and `... .app` find it. Importing this module connects to nothing: the
configuration is read when Celery first asks for it, and the embedded server is started by the command that needs it.
"""

import os
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import click
from celery import Celery
from celery.signals import user_preload_options, worker_init
from kombu import Exchange, Queue
from kombu.transport.sqlalchemy import Channel

from rhesis.backend import provision, runtime
from rhesis.backend.app.database import set_pool_size
from rhesis.backend.domain.task_names import COLLECT_RESULTS, EXECUTE_SINGLE_TEST, EXECUTE_TESTS_IN_ORDER
from rhesis.backend.errors import RhesisError
from rhesis.backend.settings import get_settings

DEFAULT_QUEUE = "celery"
EXECUTION_QUEUE = "execution"
# Discovery by name would import the package alone, so every module that defines tasks is listed.
TASK_MODULES = (
    "rhesis.backend.tasks.example_task",
    "rhesis.backend.tasks.test_configuration",
    "rhesis.backend.tasks.test_set",
    "rhesis.backend.tasks.execution.orchestration",
    "rhesis.backend.tasks.execution.test",
    "rhesis.backend.tasks.execution.results",
    "rhesis.backend.tasks.execution.liveness",
    "rhesis.backend.tasks.worker_health",
    "rhesis.backend.tasks.worker_log",
)
# By registered name; a test compares them with the registry. What waits for an endpoint goes to the execution queue.
EXECUTION_TASKS = (EXECUTE_SINGLE_TEST, EXECUTE_TESTS_IN_ORDER)
PREFORK_POOL_SIZE = 2
_POOLED_TRANSPORT = {
    "pool_pre_ping": True,
    "hide_parameters": True,
    "connect_args": {"application_name": "rhesis broker"},
}

app = Celery("rhesis")
app.loader.override_backends = {"db": "rhesis.backend.tasks.result_backend:PooledDatabaseBackend"}


def celery_configuration() -> dict[str, Any]:
    """Return the settings of the Celery application. Unset URLs are never passed on: Celery would try localhost."""
    settings = get_settings()
    broker_url, result_backend = runtime.celery_urls()
    return {
        "broker_url": broker_url,
        "result_backend": result_backend,
        "broker_transport_options": _POOLED_TRANSPORT if broker_url.startswith("sqla+") else {},
        "broker_connection_retry_on_startup": True,
        "task_serializer": "json",
        "result_serializer": "json",
        "accept_content": ["json"],
        "timezone": "UTC",
        "enable_utc": True,
        "include": list(TASK_MODULES),
        "task_default_queue": DEFAULT_QUEUE,
        # Both, so that a worker started without -Q completes runs by itself.
        # Each with its own exchange and key: without, both would be bound to the default ones and get every message.
        "task_queues": tuple(
            Queue(name, Exchange(name, type="direct"), routing_key=name) for name in (DEFAULT_QUEUE, EXECUTION_QUEUE)
        ),
        "task_routes": {name: {"queue": EXECUTION_QUEUE} for name in EXECUTION_TASKS},
        "task_track_started": True,
        "task_send_sent_event": True,
        "worker_send_task_events": True,
        # Every step can be repeated, so a message is only acknowledged once its task has ended.
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        # As one of its attempts: the stock broker does not count deliveries, and a test that kills its process
        # would kill one after the other.
        "task_retry_on_worker_lost": True,
        "task_annotations": {COLLECT_RESULTS: {"soft_time_limit": 600, "time_limit": 900}},
        "worker_prefetch_multiplier": settings.worker_prefetch_multiplier,
        "worker_concurrency": settings.worker_concurrency,
        "worker_max_tasks_per_child": settings.worker_max_tasks_per_child,
        # With pauses that double from 10 ms to 10 s: bears a restart of the database.
        "result_backend_always_retry": True,
        "result_backend_max_retries": 14,
        "result_expires": settings.result_expires_seconds,
    }


class LateConfiguration(Mapping[str, Any]):
    """The configuration, made when Celery first looks into it.

    What keeps it from being made is then an error where it is needed. A handler of the signal `on_configure` would
    only have it logged, and Celery would go on with its own default, a RabbitMQ on this machine.
    """

    @cached_property
    def _values(self) -> dict[str, Any]:
        return celery_configuration()

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


app.config_from_object(LateConfiguration())

# Celery sends `user_preload_options` to applications that have such an option, and to no other.
app.user_options["preload"].add(
    click.Option(
        ["--start-database/--no-start-database"],
        default=True,
        help="Start the embedded database first, if it is the one in use.",
    )
)


@user_preload_options.connect(weak=False)
def _start_database(sender: Any, app: Celery, options: dict[str, Any], **_: Any) -> None:
    """Start the embedded server before a command connects; only a worker may create what was never there."""
    if app.main != "rhesis" or not options["start_database"]:
        return
    try:
        if getattr(sender, "__name__", "") == "worker":
            provision.prepare(create=True)
        else:
            runtime.start(create=False)
    except RhesisError as error:
        # Celery would log any other exception and go on.
        raise SystemExit(f"celery: {error}") from error


@worker_init.connect(weak=False)
def _bound_pool(sender: Any, **_: Any) -> None:
    """Give threads a quarter as many connections as there are of them: they hold none while they wait."""
    # A class in a worker's own process, its name where a worker is started inside another program.
    threads = "thread" in str(sender.pool_cls)
    set_pool_size(max(2, (sender.concurrency or 1) // 4) if threads else PREFORK_POOL_SIZE)


def _forget_broker_connections() -> None:
    """Give a forked child connections of its own: kombu keeps those of its stock PostgreSQL broker by class."""
    engines = Channel._engines  # noqa: SLF001 - there is no public way to them
    for engine, _ in engines.values():
        engine.dispose(close=False)
    engines.clear()


# A worker replaces its children while it is connected, after so many tasks and when one was killed.
os.register_at_fork(after_in_child=_forget_broker_connections)
