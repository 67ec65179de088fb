"""RabbitMQ or Redis in front of the same service: one URL changes, nothing else."""

from collections.abc import Iterator

import pytest
import redis
from kombu import Connection, Queue

from rhesis.backend.app.database import tenant_session
from rhesis.backend.app.services.runs import create_run
from rhesis.backend.domain.actor import Actor
from rhesis.backend.tasks import launch_run
from rhesis.backend.worker import DEFAULT_QUEUE, EXECUTION_QUEUE
from support.database import Tenant, TestDatabase, environment
from support.http_endpoint import serve_endpoint
from support.processes import celery_worker
from support.servers import AMQP_URL, REDIS_URL, absent, require
from support.waiting import eventually
from support.world import add_world, run_row

pytestmark = pytest.mark.xdist_group("brokers")


@pytest.fixture
def redis_url() -> Iterator[str]:
    """Return a Redis database of the tests' own, which must be empty: nobody else's keys are touched."""
    url = require(REDIS_URL, "Redis")
    client = redis.Redis.from_url(url)
    if client.dbsize():
        absent(f"{url} is not empty: name another database number in TEST_REDIS_URL")
    yield url
    client.flushdb()
    client.close()


@pytest.fixture
def amqp_url() -> Iterator[str]:
    """Return a RabbitMQ on which nobody uses our queues: a test would take his messages, or he the test's."""
    url = require(AMQP_URL, "RabbitMQ")
    with Connection(url) as connection:
        for name in (DEFAULT_QUEUE, EXECUTION_QUEUE):
            channel = connection.channel()
            try:
                found = channel.queue_declare(name, passive=True)
            except connection.channel_errors:
                continue
            if found.message_count or found.consumer_count:
                absent(f"somebody uses the queue {name!r} on RabbitMQ: name another virtual host in TEST_AMQP_URL")
        yield url
        for name in (DEFAULT_QUEUE, EXECUTION_QUEUE):
            Queue(name, channel=connection.channel()).delete()


def complete_a_run(database: TestDatabase, tenant: Tenant, tmp_path, **urls: str) -> None:
    with serve_endpoint() as endpoint, environment(DATABASE_URL=database.url, **urls):
        world = add_world(database, tenant, prompts=["a", "b", "wrong c"], url=endpoint.url)
        actor = Actor(tenant.user_id, tenant.organization_id)
        with celery_worker(database, tmp_path, "-P", "threads", "-c", "4"):
            with tenant_session(actor.organization_id, actor.id) as db:
                run = create_run(db, actor, world.configuration_id)
            launch_run(run, actor)
            eventually(lambda: run_row(database, run.id)["status"] == "Completed", within=40, what="the run's end")
        assert endpoint.calls.total() == 3


def test_a_run_completes_with_redis_as_broker_and_result_backend(database, tenant, tmp_path, redis_url):
    complete_a_run(database, tenant, tmp_path, BROKER_URL=redis_url, CELERY_RESULT_BACKEND=redis_url)


def test_a_run_completes_with_rabbitmq_as_broker(database, tenant, tmp_path, amqp_url):
    complete_a_run(database, tenant, tmp_path, BROKER_URL=amqp_url)
