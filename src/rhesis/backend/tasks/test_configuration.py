"""Tasks on test configurations: look one up, execute one."""

from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from rhesis.backend.app import crud
from rhesis.backend.domain.task_names import EXECUTE_TEST_CONFIGURATION
from rhesis.backend.tasks.base import BaseTask, with_tenant_context
from rhesis.backend.tasks.execution.orchestration import DispatchTask, execute_run
from rhesis.backend.worker import app


@app.task(base=BaseTask, name="rhesis.backend.tasks.get_test_configuration")
@with_tenant_context
def get_test_configuration(test_configuration_id: str, db: Session) -> dict[str, Any]:
    """Say whether the organization has this configuration."""
    found = crud.get_test_configuration(db, test_configuration_id=UUID(test_configuration_id))
    return {"found": found is not None, "id": str(found.id) if found else None}


@app.task(base=DispatchTask, bind=True, name=EXECUTE_TEST_CONFIGURATION)
def execute_test_configuration(self: BaseTask, test_configuration_id: str) -> dict[str, Any]:
    """Execute a configuration's test set as the run that belongs to this task's id, and return the run's id.

    The run was committed before the task was published. Where it was not (the task was launched by itself) it is made
    here, once: a retry finds it by the task id.
    """
    return execute_run(self, UUID(test_configuration_id))
