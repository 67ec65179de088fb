"""Hand a new run to the workers: commit it, publish it, answer."""

from collections.abc import Callable

from fastapi import Response
from sqlalchemy.orm import Session

from rhesis.backend.app import models
from rhesis.backend.app.database import tenant_session
from rhesis.backend.app.schemas.runs import Submitted
from rhesis.backend.app.services import run_reports
from rhesis.backend.domain.actor import Actor
from rhesis.backend.tasks import launch_run


def submit(actor: Actor, response: Response, create: Callable[[Session], models.TestRun]) -> Submitted:
    """Create a run, publish its task and return what the caller is told.

    The request's own session commits after the route, which is too late: a worker may be faster. So the run is
    committed here.
    """
    with tenant_session(actor.organization_id, actor.id) as db:
        run = create(db)
        configuration = run_reports.configuration_of(db, actor, run)
        answer = Submitted(
            task_id=run.task_id,
            test_run_id=run.id,
            test_configuration_id=configuration.id,
            endpoint_id=configuration.endpoint_id,
            test_set_id=configuration.test_set_id,
            user_id=run.user_id,
        )
    launch_run(run, actor)
    response.headers["Location"] = f"/test_runs/{run.id}"
    return answer
