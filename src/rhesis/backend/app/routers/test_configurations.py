"""Test configurations: a test set against an endpoint, to be executed."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Body, Response, status

from rhesis.backend.app import models
from rhesis.backend.app.dependencies import CurrentActor, DatabaseSession, ListQueryParameters, set_total
from rhesis.backend.app.problems import PROBLEM_RESPONSES
from rhesis.backend.app.routers.submission import submit
from rhesis.backend.app.schemas.runs import Execution, Submitted
from rhesis.backend.app.schemas.test_configurations import (
    TestConfiguration,
    TestConfigurationCreate,
    TestConfigurationUpdate,
)
from rhesis.backend.app.services import runs, test_configurations

router = APIRouter(prefix="/test_configurations", tags=["test configurations"], responses=PROBLEM_RESPONSES)


@router.get("", response_model=list[TestConfiguration])
def list_configurations(
    db: DatabaseSession, actor: CurrentActor, parameters: ListQueryParameters, response: Response
) -> tuple[models.TestConfiguration, ...]:
    """List the organization's configurations."""
    found = test_configurations.list_configurations(db, actor, parameters)
    set_total(response, found)
    return found.items


@router.post("", response_model=TestConfiguration, status_code=status.HTTP_201_CREATED)
def create_configuration(
    given: TestConfigurationCreate, db: DatabaseSession, actor: CurrentActor
) -> models.TestConfiguration:
    """Add a configuration."""
    return test_configurations.create_configuration(db, actor, given)


@router.get("/{test_configuration_id}", response_model=TestConfiguration)
def get_configuration(
    test_configuration_id: UUID, db: DatabaseSession, actor: CurrentActor
) -> models.TestConfiguration:
    """Show a configuration."""
    return test_configurations.get_configuration(db, actor, test_configuration_id)


@router.patch("/{test_configuration_id}", response_model=TestConfiguration)
def update_configuration(
    test_configuration_id: UUID, given: TestConfigurationUpdate, db: DatabaseSession, actor: CurrentActor
) -> models.TestConfiguration:
    """Change a configuration."""
    return test_configurations.change_configuration(db, actor, test_configuration_id, given)


@router.delete("/{test_configuration_id}", status_code=status.HTTP_204_NO_CONTENT)
def delete_configuration(test_configuration_id: UUID, db: DatabaseSession, actor: CurrentActor) -> None:
    """Delete a configuration that has no runs."""
    test_configurations.delete_configuration(db, actor, test_configuration_id)


@router.post("/{test_configuration_id}/execute", status_code=status.HTTP_202_ACCEPTED)
def execute_configuration(
    test_configuration_id: UUID,
    actor: CurrentActor,
    response: Response,
    given: Annotated[Execution | None, Body()] = None,
) -> Submitted:
    """Run the configuration's test set against its endpoint in the background."""
    deadline = given.deadline_seconds if given else None
    return submit(
        actor, response, lambda db: runs.create_run(db, actor, test_configuration_id, deadline_seconds=deadline)
    )
