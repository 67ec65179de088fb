"""Workers are killed at random moments while runs go on: every run ends by its deadline, with one row for each test.

A short slice runs by default; `make chaos` sets CHAOS_ROUNDS.
"""

import os
import random
import threading
from contextlib import ExitStack

import pytest

from rhesis.backend.app.database import tenant_session
from rhesis.backend.app.services.runs import create_run
from rhesis.backend.domain.actor import Actor
from rhesis.backend.tasks import launch_run
from support.http_endpoint import serve_endpoint
from support.processes import celery_worker
from support.waiting import eventually
from support.world import add_world, result_rows, run_row

ROUNDS = int(os.environ.get("CHAOS_ROUNDS", "3"))
DEADLINE_SECONDS = 8
TESTS = 20


@pytest.mark.chaos
def test_every_run_ends_by_its_deadline_whatever_is_killed(database, tenant, tmp_path):
    chosen = random.Random(20261120)
    actor = Actor(tenant.user_id, tenant.organization_id)
    with serve_endpoint(answer_seconds=0.2) as endpoint, ExitStack() as stack:
        world = add_world(database, tenant, prompts=[f"question {n}" for n in range(TESTS)], url=endpoint.url)
        for number in range(ROUNDS):
            victim = stack.enter_context(
                celery_worker(database, tmp_path, "-P", "threads", "-c", "4", name=f"w{number}")
            )
            with tenant_session(actor.organization_id, actor.id) as db:
                run = create_run(db, actor, world.configuration_id, deadline_seconds=DEADLINE_SECONDS)
            launch_run(run, actor)
            threading.Event().wait(chosen.uniform(0.0, 4.0))
            victim.kill()
        stack.enter_context(celery_worker(database, tmp_path, "-P", "threads", "-c", "4", name="survivor"))
        eventually(
            lambda: (
                database.fetch("SELECT count(*) FROM rhesis.test_run WHERE status IN ('Queued', 'Progress')") == [(0,)]
            ),
            within=DEADLINE_SECONDS + 45,
            what="the end of every run",
        )
    for (run_id,) in database.fetch("SELECT id FROM rhesis.test_run"):
        row = run_row(database, run_id)
        rows = result_rows(database, run_id)
        assert len(rows) == len({result["test_id"] for result in rows}) == TESTS
        errors = sum(result["status"] == "Error" for result in rows)
        assert row["failed_tasks"] == errors
        assert row["status"] == ("Completed" if not errors else "Failed" if errors == TESTS else "Partial")
        if errors:
            assert row["error"], "a run that is not complete says why"
