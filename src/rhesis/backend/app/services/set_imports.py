"""Make a test set of a checked file, whole or not at all."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final
from uuid import uuid4

from sqlalchemy.orm import Session

from rhesis.backend.app.database import tenant_session
from rhesis.backend.app.models import TestSet
from rhesis.backend.app.repositories import test_sets, tests
from rhesis.backend.app.repositories.tests import NewTest
from rhesis.backend.app.schemas.test_sets import TestSetCreate
from rhesis.backend.app.services.import_spool import spooled
from rhesis.backend.app.services.importing import ImportLimits, Row, RowError
from rhesis.backend.app.services.test_sets import create_test_set
from rhesis.backend.domain.actor import Actor
from rhesis.backend.settings import get_settings

BATCH_ROWS: Final = 1_000
BATCH_CHARACTERS: Final = 2 * 1024 * 1024


@dataclass(frozen=True)
class ImportedSet:
    """The set that was made, how many tests it has, and what was changed on the way in."""

    test_set: TestSet
    tests: int
    notes: tuple[str, ...]


def import_limits() -> ImportLimits:
    """Return what this installation accepts in one file."""
    settings = get_settings()
    return ImportLimits(prompt_max_bytes=settings.prompt_max_bytes, max_rows=settings.import_max_rows)


def import_test_set(actor: Actor, wanted: TestSetCreate, parsed: Iterable[Row | RowError]) -> ImportedSet:
    """Read the whole file, then store the set and its tests in one transaction.

    Raises `InvalidInput` with code `import_refused`, which lists the first hundred problems; nothing is stored then.
    """
    with spooled(parsed) as spool, tenant_session(actor.organization_id, actor.id) as db:
        test_set = create_test_set(db, actor, wanted)
        stored = 0
        for batch in _batches(spool.rows()):
            _store(db, actor, test_set, batch, first=stored)
            stored += len(batch)
    return ImportedSet(test_set, stored, spool.notes)


def _store(db: Session, actor: Actor, test_set: TestSet, batch: list[Row], *, first: int) -> None:
    new = [
        NewTest(
            id=uuid4(),
            prompt=row.prompt,
            external_id=row.external_id,
            expected_response=row.expected_response,
            language_code=row.language_code,
            behaviour=row.behaviour,
            metrics=row.metrics,
            priority=row.priority,
        )
        for row in batch
    ]
    tests.add_batch(db, actor.organization_id, actor.id, new)
    test_sets.add_members(db, actor.organization_id, test_set.id, [test.id for test in new], first=first)


def _batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Yield the rows in batches that are small in rows and in characters."""
    batch: list[Row] = []
    characters = 0
    for row in rows:
        batch.append(row)
        characters += len(row.prompt) + len(row.expected_response or "")
        if len(batch) == BATCH_ROWS or characters >= BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch
