"""What several routes send: times, ids and lists."""

from typing import Annotated
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

from rhesis.backend.app.repositories.listing import DEFAULT_LIMIT, DEFAULT_SORT, MAX_LIMIT, SortOrder

_LARGEST_OFFSET = 2**31 - 1

Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
"""A name somebody gives to something: at least one visible character."""


class Input(BaseModel):
    """A request body. Unknown keys are refused: no misspelt field is lost, and no tenant can be slipped in."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Output(BaseModel):
    """An answer, read from a row's attributes."""

    model_config = ConfigDict(from_attributes=True, frozen=True)


class KeyedOutput(Output):
    """An answer about a stored object."""

    id: UUID
    created_at: AwareDatetime
    updated_at: AwareDatetime


class OwnedOutput(KeyedOutput):
    """An answer about an object of an organization that one of its users made."""

    organization_id: UUID
    user_id: UUID


class ListQuery(BaseModel):
    """The query parameters of every list."""

    skip: int = Field(0, ge=0, le=_LARGEST_OFFSET, description="Rows to leave out.")
    limit: int = Field(DEFAULT_LIMIT, ge=1, le=MAX_LIMIT, description="Rows to return at most.")
    sort_by: str = Field(DEFAULT_SORT, max_length=100, description="Field to sort by.")
    sort_order: SortOrder = Field(SortOrder.DESCENDING, description="Direction.")
    filter: str | None = Field(
        None, description="Comparisons joined by `and`: `name eq 'Smoke' and created_at ge 2026-01-31T00:00:00Z`."
    )
    odata_filter: str | None = Field(None, alias="$filter", description="The same under its OData name.")


class ErrorDetail(BaseModel):
    """One thing wrong with a request."""

    where: str
    message: str


class Problem(BaseModel):
    """Every error's body, sent as `application/problem+json`. `code` is for programs, `detail` for people."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    code: str
    id: str | None = None
    errors: list[ErrorDetail] | None = None
