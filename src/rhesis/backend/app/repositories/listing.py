"""Lists: a page of a query in a stable order, with a filter that can only become bound parameters."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Generic, TypeVar

from sqlalchemy import Select, func
from sqlalchemy.orm import InstrumentedAttribute, Session

from rhesis.backend.app.repositories.filters import conditions
from rhesis.backend.errors import InputProblem, InvalidInput

DEFAULT_LIMIT = 100
MAX_LIMIT = 1000
DEFAULT_SORT = "created_at"

Row = TypeVar("Row")
Fields = Mapping[str, InstrumentedAttribute[Any]]
"""The names a caller may sort and filter by. `id` must be among them: it makes every order total."""


class SortOrder(StrEnum):
    """Direction of a list."""

    ASCENDING = "asc"
    DESCENDING = "desc"


@dataclass(frozen=True)
class ListParameters:
    """Which part of a list is wanted; newest first unless told otherwise."""

    skip: int = 0
    limit: int = DEFAULT_LIMIT
    sort_by: str = DEFAULT_SORT
    sort_order: SortOrder = SortOrder.DESCENDING
    filter: str | None = None


@dataclass(frozen=True)
class Page(Generic[Row]):
    """Some rows of a list, and how many rows the whole list has."""

    items: tuple[Row, ...]
    total: int


def page(db: Session, statement: Select[Row], parameters: ListParameters, *, fields: Fields) -> Page[Row]:
    """Return the wanted part of the rows that `statement` selects.

    `statement` selects one entity, filtered to its organization and not yet ordered. Raises `InvalidInput` for a field
    that is not in `fields` and for a filter that cannot be understood.
    """
    if parameters.filter and parameters.filter.strip():
        statement = statement.where(*conditions(parameters.filter, fields))
    total = db.scalar(statement.with_only_columns(func.count(), maintain_column_froms=True)) or 0
    ordered = _ordered(statement, parameters, fields)
    rows = db.scalars(ordered.offset(parameters.skip).limit(parameters.limit))
    return Page(tuple(rows), total)


def _ordered(statement: Select[Row], parameters: ListParameters, fields: Fields) -> Select[Row]:
    if parameters.sort_by not in fields:
        known = ", ".join(sorted(fields))
        problem = InputProblem("query.sort_by", f"expected one of {known}")
        raise InvalidInput(f"the list cannot be sorted by that: expected one of {known}", problems=(problem,))
    keys = [fields[parameters.sort_by]]
    if parameters.sort_by != "id":
        keys.append(fields["id"])
    descending = parameters.sort_order is SortOrder.DESCENDING
    return statement.order_by(*(key.desc() if descending else key.asc() for key in keys))
