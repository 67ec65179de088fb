"""Statements on tests. None commits; each filters by organization beside the row-level security."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from sqlalchemy import delete, select, text
from sqlalchemy.orm import Session

from rhesis.backend.app.models import Test, TestRun
from rhesis.backend.app.repositories.listing import Fields, ListParameters, Page, page
from rhesis.backend.domain.run_status import OPEN_STATUSES

FIELDS: Final[Fields] = {
    "id": Test.id,
    "user_id": Test.user_id,
    "external_id": Test.external_id,
    "prompt": Test.prompt,
    "behaviour": Test.behaviour,
    "language_code": Test.language_code,
    "priority": Test.priority,
    "created_at": Test.created_at,
    "updated_at": Test.updated_at,
}

# COPY cannot write to a table with row-level security. One JSON text is half the work of an array for each column.
_INSERT_BATCH = text("""
    INSERT INTO rhesis.test
        (organization_id, user_id, id, external_id, prompt, expected_response, language_code, behaviour, metrics,
         priority)
    SELECT :organization_id, :user_id, new.*
    FROM json_to_recordset(CAST(:batch AS json)) AS new (
        id uuid, external_id text, prompt text, expected_response text, language_code text, behaviour text,
        metrics jsonb, priority integer
    )
""")


@dataclass(frozen=True)
class NewTest:
    """A test about to be inserted with others."""

    id: UUID
    prompt: str
    external_id: str | None = None
    expected_response: str | None = None
    language_code: str | None = None
    behaviour: str | None = None
    metrics: list[Any] = field(default_factory=list)
    priority: int = 0


def page_of_tests(db: Session, organization_id: UUID, parameters: ListParameters) -> Page[Test]:
    """Return a part of the organization's tests."""
    return page(db, select(Test).where(Test.organization_id == organization_id), parameters, fields=FIELDS)


def find(db: Session, organization_id: UUID, test_id: UUID) -> Test | None:
    """Return a test, or None."""
    return db.scalar(select(Test).where(Test.organization_id == organization_id, Test.id == test_id))


def lock(db: Session, organization_id: UUID, test_id: UUID) -> Test | None:
    """Return a test that nobody else can change, delete or refer to until the transaction ends, or None."""
    return db.scalar(select(Test).where(Test.organization_id == organization_id, Test.id == test_id).with_for_update())


def existing(db: Session, organization_id: UUID, test_ids: Collection[UUID]) -> set[UUID]:
    """Return those of the ids that are tests of the organization."""
    return set(db.scalars(select(Test.id).where(Test.organization_id == organization_id, Test.id.in_(test_ids))))


def open_runs_with(db: Session, organization_id: UUID, test_id: UUID, *, limit: int) -> Sequence[UUID]:
    """Return runs that have not ended and owe a result for the test."""
    return db.scalars(
        select(TestRun.id)
        .where(
            TestRun.organization_id == organization_id,
            TestRun.status.in_([status.value for status in OPEN_STATUSES]),
            TestRun.test_ids.contains([test_id]),
        )
        .order_by(TestRun.created_at)
        .limit(limit)
    ).all()


def add_batch(db: Session, organization_id: UUID, user_id: UUID, batch: Sequence[NewTest]) -> None:
    """Insert many tests by one statement."""
    rows = [{**vars(test), "id": str(test.id)} for test in batch]
    db.execute(
        _INSERT_BATCH,
        {
            "organization_id": organization_id,
            "user_id": user_id,
            "batch": json.dumps(rows, ensure_ascii=False, allow_nan=False),
        },
    )


def remove(db: Session, organization_id: UUID, test_id: UUID) -> None:
    """Delete a test and its places in sets."""
    db.execute(delete(Test).where(Test.organization_id == organization_id, Test.id == test_id))
