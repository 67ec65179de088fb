"""Statements on test sets and the tests in them. None commits; each filters by organization beside the policies."""

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Select, and_, delete, func, select, text, tuple_
from sqlalchemy.orm import Session

from rhesis.backend.app.models import Test, TestConfiguration, TestSet, TestTestSet
from rhesis.backend.app.repositories.listing import Fields, ListParameters, Page, page

FIELDS: Final[Fields] = {
    "id": TestSet.id,
    "user_id": TestSet.user_id,
    "name": TestSet.name,
    "slug": TestSet.slug,
    "description": TestSet.description,
    "visibility": TestSet.visibility,
    "is_published": TestSet.is_published,
    "created_at": TestSet.created_at,
    "updated_at": TestSet.updated_at,
}
EXPORT_ROWS: Final = 500
EXPORT_BYTES: Final = 4 * 1024 * 1024

_ADD_MEMBERS = text("""
    INSERT INTO rhesis.test_test_set (organization_id, test_set_id, test_id, position)
    SELECT :organization_id, :test_set_id, member.test_id, :first + member.place - 1
    FROM unnest(CAST(:test_ids AS uuid[])) WITH ORDINALITY AS member (test_id, place)
    ON CONFLICT (organization_id, test_set_id, test_id) DO NOTHING
""")


def page_of_sets(db: Session, organization_id: UUID, parameters: ListParameters) -> Page[TestSet]:
    """Return a part of the sets that the bound user may see."""
    return page(db, select(TestSet).where(TestSet.organization_id == organization_id), parameters, fields=FIELDS)


def find(db: Session, organization_id: UUID, test_set_id: UUID) -> TestSet | None:
    """Return a set that the bound user may see, or None."""
    return db.scalar(_one(organization_id, test_set_id))


def lock(db: Session, organization_id: UUID, test_set_id: UUID) -> TestSet | None:
    """Return a set that nobody else can change until the transaction ends, or None."""
    return db.scalar(_one(organization_id, test_set_id).with_for_update())


def configurations_of(db: Session, organization_id: UUID, test_set_id: UUID, *, limit: int) -> Sequence[UUID]:
    """Return configurations that use the set."""
    return db.scalars(
        select(TestConfiguration.id)
        .where(TestConfiguration.organization_id == organization_id, TestConfiguration.test_set_id == test_set_id)
        .order_by(TestConfiguration.created_at)
        .limit(limit)
    ).all()


def members(db: Session, organization_id: UUID, test_set_id: UUID, *, skip: int, limit: int) -> Page[Test]:
    """Return a part of a set's tests in its order."""
    statement = _members(organization_id, test_set_id)
    total = db.scalar(statement.with_only_columns(func.count(), maintain_column_froms=True)) or 0
    rows = db.scalars(statement.order_by(TestTestSet.position, Test.id).offset(skip).limit(limit))
    return Page(tuple(rows), total)


def members_after(
    db: Session, organization_id: UUID, test_set_id: UUID, after: tuple[int, UUID] | None
) -> Sequence[tuple[Test, int]]:
    """Return the next tests of a set and their positions: some 4 MiB of text, 500 tests, and always at least one."""
    order = (TestTestSet.position, TestTestSet.test_id)
    places = select(TestTestSet.position, TestTestSet.test_id).where(
        TestTestSet.organization_id == organization_id, TestTestSet.test_set_id == test_set_id
    )
    if after is not None:
        places = places.where(tuple_(*order) > after)
    # Limited before anything is joined or summed, or each page would cost as much as the whole set.
    ahead = places.order_by(*order).limit(EXPORT_ROWS).subquery()
    size = func.octet_length(Test.prompt) + func.coalesce(func.octet_length(Test.expected_response), 0)
    of_test = and_(Test.organization_id == organization_id, Test.id == ahead.c.test_id)
    bytes_up_to = func.sum(size).over(order_by=(ahead.c.position, ahead.c.test_id))
    sized = (
        select(ahead.c.position, ahead.c.test_id, (bytes_up_to - size).label("bytes_before"))
        .join(Test, of_test)
        .subquery()
    )
    rows = db.execute(
        select(Test, sized.c.position)
        .join(sized, and_(Test.organization_id == organization_id, Test.id == sized.c.test_id))
        .where(sized.c.bytes_before < EXPORT_BYTES)
        .order_by(sized.c.position, sized.c.test_id)
    )
    return [(row[0], row[1]) for row in rows]


def end_of(db: Session, organization_id: UUID, test_set_id: UUID) -> int:
    """Return the position after a set's last test."""
    last = db.scalar(
        select(func.max(TestTestSet.position)).where(
            TestTestSet.organization_id == organization_id, TestTestSet.test_set_id == test_set_id
        )
    )
    return 0 if last is None else last + 1


def add_members(db: Session, organization_id: UUID, test_set_id: UUID, test_ids: Sequence[UUID], *, first: int) -> int:
    """Put tests into a set from position `first` on and return how many were not in it before."""
    result: Any = db.execute(
        _ADD_MEMBERS,
        {
            "organization_id": organization_id,
            "test_set_id": test_set_id,
            "test_ids": list(test_ids),
            "first": first,
        },
    )
    return int(result.rowcount)


def remove_member(db: Session, organization_id: UUID, test_set_id: UUID, test_id: UUID) -> bool:
    """Take a test out of a set; return False when it was not in it."""
    result: Any = db.execute(
        delete(TestTestSet).where(
            TestTestSet.organization_id == organization_id,
            TestTestSet.test_set_id == test_set_id,
            TestTestSet.test_id == test_id,
        )
    )
    return bool(result.rowcount)


def remove(db: Session, organization_id: UUID, test_set_id: UUID) -> None:
    """Delete a set; its tests stay."""
    db.execute(delete(TestSet).where(TestSet.organization_id == organization_id, TestSet.id == test_set_id))


def _one(organization_id: UUID, test_set_id: UUID) -> Select[TestSet]:
    return select(TestSet).where(TestSet.organization_id == organization_id, TestSet.id == test_set_id)


def _members(organization_id: UUID, test_set_id: UUID) -> Select[Test]:
    return (
        select(Test)
        .join(TestTestSet, and_(TestTestSet.organization_id == Test.organization_id, TestTestSet.test_id == Test.id))
        .where(Test.organization_id == organization_id, TestTestSet.test_set_id == test_set_id)
    )
