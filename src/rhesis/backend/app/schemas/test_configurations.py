"""Test configurations on the wire."""

from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, Field, StringConstraints

from rhesis.backend.app.schemas import limits
from rhesis.backend.app.schemas.common import Input, OwnedOutput
from rhesis.backend.app.schemas.fields import Attributes, Metrics, Storable, Update

EXECUTION_MODES = ("Parallel", "Sequential")


def _known_mode(attributes: dict[str, Any]) -> dict[str, Any]:
    if attributes.get("execution_mode", EXECUTION_MODES[0]) not in EXECUTION_MODES:
        raise ValueError(f"execution_mode must be one of {', '.join(EXECUTION_MODES)}")
    return attributes


_Name = Annotated[str, StringConstraints(strip_whitespace=True, max_length=limits.MAX_NAME_LENGTH), Storable]
_Attributes = Annotated[Attributes, AfterValidator(_known_mode)]


class TestConfigurationCreate(Input):
    """A configuration to add: a test set against an endpoint."""

    name: _Name = ""
    endpoint_id: UUID
    test_set_id: UUID
    metrics: Metrics = Field(default_factory=list, description="Judge tests where neither they nor the set have any.")
    attributes: _Attributes = Field(default_factory=dict, description="`execution_mode`: Parallel or Sequential.")


class TestConfigurationUpdate(Update):
    """What may be changed of a configuration."""

    name: _Name | None = None
    endpoint_id: UUID | None = None
    test_set_id: UUID | None = None
    metrics: Metrics | None = None
    attributes: _Attributes | None = None


class TestConfiguration(OwnedOutput):
    """A stored configuration."""

    name: str
    endpoint_id: UUID
    test_set_id: UUID
    metrics: list[Any]
    attributes: dict[str, Any]
