"""Test sets on the wire."""

from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

from pydantic import Field

from rhesis.backend.app.repositories.listing import DEFAULT_LIMIT, MAX_LIMIT
from rhesis.backend.app.schemas import limits
from rhesis.backend.app.schemas.common import Input, Output, OwnedOutput
from rhesis.backend.app.schemas.fields import Attributes, Description, Label, Metrics, Update


class Visibility(StrEnum):
    """Who sees a set: everybody in the organization, or its owner alone."""

    ORGANIZATION = "organization"
    USER = "user"


class TestSetCreate(Input):
    """A test set to add."""

    name: Label
    description: Description = ""
    visibility: Visibility = Visibility.ORGANIZATION
    is_published: bool = False
    metrics: Metrics = Field(default_factory=list, description="Judge those of its tests that have none.")
    attributes: Attributes = Field(default_factory=dict)


class ImportQuery(Input):
    """The set that an imported file becomes."""

    name: Label
    description: Description = ""
    visibility: Visibility = Visibility.ORGANIZATION


class Window(Input):
    """A part of a set's tests, whose order is the set's."""

    skip: int = Field(0, ge=0, le=2**31 - 1, description="Tests to leave out.")
    limit: int = Field(DEFAULT_LIMIT, ge=1, le=MAX_LIMIT, description="Tests to return at most.")


class TestSetUpdate(Update):
    """What may be changed of a test set; its slug stays."""

    name: Label | None = None
    description: Description | None = None
    visibility: Visibility | None = None
    is_published: bool | None = None
    metrics: Metrics | None = None
    attributes: Attributes | None = None


class TestSet(OwnedOutput):
    """A stored test set."""

    name: str
    description: str
    slug: str
    visibility: Visibility
    is_published: bool
    metrics: list[Any]
    attributes: dict[str, Any]


class Members(Input):
    """Tests to put at a set's end, in this order; those in it already stay where they are."""

    test_ids: Annotated[list[UUID], Field(min_length=1, max_length=limits.MAX_REQUEST_IDS)]


class MembersAdded(Output):
    """How many tests were new to the set."""

    added: int


class ImportedTestSet(Output):
    """The set that an import made. `notes` says what was changed on the way in."""

    test_set: TestSet
    tests: int
    notes: list[str]
