"""Tasks of a test's own, a broker in this process, a worker in threads of this process, and the tasks' log."""

import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from celery.contrib.testing.worker import start_worker
from celery.signals import before_task_publish, setup_logging
from kombu import pools
from kombu.transport.memory import Channel, Transport

from rhesis.backend.app import database as app_database
from rhesis.backend.tasks.base import BaseTask
from rhesis.backend.worker import app
from support.database import TestDatabase, environment


@pytest.fixture
def memory_broker(database: TestDatabase) -> Iterator[None]:
    """Keep messages and results in this process."""
    # Pools are found again by their URL, which is the same for every test.
    pools.reset()
    with environment(BROKER_URL="memory://", CELERY_RESULT_BACKEND="cache+memory://"):
        app.conf.broker_transport_options = {"polling_interval": 0.02}
        yield
        pools.reset()
    Transport.global_state.clear()
    Channel.queues.clear()


@pytest.fixture
def define_task(database: TestDatabase) -> Iterator[Callable[..., Any]]:
    """Register a function as a task of the service, and forget it afterwards. A worker knows it if it starts later."""
    app.finalize()
    made: list[str] = []

    def define(function: Callable[..., Any], **options: Any) -> Any:
        name = f"tests.{function.__name__}.{len(made)}"
        made.append(name)
        return app.task(**{"base": BaseTask, **options}, name=name)(function)

    yield define
    for name in made:
        app.tasks.pop(name, None)


@pytest.fixture
def published(memory_broker: None) -> Iterator[list[dict[str, Any]]]:
    """Return the messages that were published, as `headers`, `args` and `kwargs`."""
    messages: list[dict[str, Any]] = []

    def note(headers: dict[str, Any], body: tuple[Any, Any, Any], **_: Any) -> None:
        messages.append({"headers": headers, "args": body[0], "kwargs": body[1]})

    before_task_publish.connect(note, weak=False)
    yield messages
    before_task_publish.disconnect(note)


@pytest.fixture
def working(database: TestDatabase) -> Callable[[], contextlib.AbstractContextManager[Any]]:
    """Return what runs a worker in threads of this process, on whatever broker is set."""

    @contextlib.contextmanager
    def work() -> Iterator[Any]:
        # Whoever handles this signal keeps Celery from taking over the log of the whole process.
        def leave_logging_alone(**_: Any) -> None:
            pass

        setup_logging.connect(leave_logging_alone, weak=False)
        try:
            with start_worker(app, concurrency=4, pool="threads", perform_ping_check=False) as worker:
                yield worker
        finally:
            setup_logging.disconnect(leave_logging_alone)
            app_database.set_pool_size(app_database.DEFAULT_POOL_SIZE)

    return work


@pytest.fixture
def task_log() -> Iterator[list[logging.LogRecord]]:
    """Return what the tasks' base class logs of each task's attempts and end."""
    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = records.append
    handler.addFilter(lambda record: hasattr(record, "celery_task_id"))
    logger = logging.getLogger("rhesis.backend.tasks.base")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield records
    logger.removeHandler(handler)
    logger.setLevel(level)
