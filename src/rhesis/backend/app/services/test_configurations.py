"""What may be done with test configurations."""

from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from rhesis.backend.app.models import TestConfiguration
from rhesis.backend.app.repositories import endpoints, test_configurations, test_sets
from rhesis.backend.app.repositories.listing import ListParameters, Page
from rhesis.backend.app.schemas.test_configurations import TestConfigurationCreate, TestConfigurationUpdate
from rhesis.backend.app.services.in_use import NAMED, refuse_if_used
from rhesis.backend.domain.actor import Actor
from rhesis.backend.errors import InputProblem, InvalidInput, NotFound
from rhesis.backend.metrics.registry import check_definitions


def list_configurations(db: Session, actor: Actor, parameters: ListParameters) -> Page[TestConfiguration]:
    """Return a part of the organization's configurations."""
    return test_configurations.page_of_configurations(db, actor.organization_id, parameters)


def get_configuration(db: Session, actor: Actor, configuration_id: UUID) -> TestConfiguration:
    """Return a configuration of the actor's organization; raise `NotFound`."""
    return _found(test_configurations.find(db, actor.organization_id, configuration_id), configuration_id)


def create_configuration(db: Session, actor: Actor, wanted: TestConfigurationCreate) -> TestConfiguration:
    """Add a configuration of an endpoint and a set that the actor may see."""
    check_definitions(wanted.metrics)
    values = wanted.model_dump()
    _check_references(db, actor, values)
    configuration = TestConfiguration(organization_id=actor.organization_id, user_id=actor.id, **values)
    db.add(configuration)
    db.flush()
    return configuration


def change_configuration(
    db: Session, actor: Actor, configuration_id: UUID, change: TestConfigurationUpdate
) -> TestConfiguration:
    """Change a configuration; runs that exist keep the tests they began with."""
    configuration = _changeable(db, actor, configuration_id)
    changes = change.changes()
    check_definitions(changes.get("metrics", []))
    _check_references(db, actor, changes)
    for name, value in changes.items():
        setattr(configuration, name, value)
    db.flush()
    db.refresh(configuration)
    return configuration


def delete_configuration(db: Session, actor: Actor, configuration_id: UUID) -> None:
    """Delete a configuration; raise `Conflict` while it has runs, whose results would go with it."""
    configuration = _changeable(db, actor, configuration_id)
    refuse_if_used(
        "test configuration",
        configuration.id,
        test_configurations.runs_of(db, actor.organization_id, configuration.id, limit=NAMED),
        by="test run",
        advice="delete its runs first",
    )
    test_configurations.remove(db, actor.organization_id, configuration.id)


def _check_references(db: Session, actor: Actor, values: dict[str, Any]) -> None:
    found: dict[str, object] = {}
    if "endpoint_id" in values:
        found["endpoint_id"] = endpoints.find(db, actor.organization_id, values["endpoint_id"])
    if "test_set_id" in values:
        found["test_set_id"] = test_sets.find(db, actor.organization_id, values["test_set_id"])
    missing = [name for name, row in found.items() if row is None]
    if missing:
        raise InvalidInput(
            f"{' and '.join(missing)} must be of this organization",
            code="unknown_reference",
            problems=tuple(InputProblem(f"body.{name}", f"there is no {values[name]}") for name in missing),
        )


def _changeable(db: Session, actor: Actor, configuration_id: UUID) -> TestConfiguration:
    configuration = _found(test_configurations.lock(db, actor.organization_id, configuration_id), configuration_id)
    actor.require_change(configuration.user_id, what="test configuration", subject_id=configuration.id)
    return configuration


def _found(configuration: TestConfiguration | None, configuration_id: UUID) -> TestConfiguration:
    if configuration is None:
        raise NotFound(f"test configuration {configuration_id} is not there", subject_id=str(configuration_id))
    return configuration
