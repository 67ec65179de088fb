"""Read what an export writes, page by page, each in a short transaction of its own.

An export may take as long as its reader likes; no connection waits for him, and row-level security applies to each page
anew.
"""

from collections.abc import Iterator, Sequence
from uuid import UUID

from rhesis.backend.app.database import tenant_session
from rhesis.backend.app.models import Test
from rhesis.backend.app.repositories import run_reports, test_sets
from rhesis.backend.app.repositories.run_reports import EXPORT_ROWS, ReportedResult
from rhesis.backend.domain.actor import Actor


def pages_of_tests(actor: Actor, test_set_id: UUID) -> Iterator[Sequence[Test]]:
    """Yield a set's tests in its order."""
    after: tuple[int, UUID] | None = None
    while True:
        with tenant_session(actor.organization_id, actor.id) as db:
            page = test_sets.members_after(db, actor.organization_id, test_set_id, after)
        if not page:
            return
        yield [test for test, _ in page]
        last, position = page[-1]
        after = (position, last.id)


def pages_of_results(actor: Actor, run_id: UUID, total: int) -> Iterator[Sequence[ReportedResult]]:
    """Yield the results that a run of `total` tests has, in the order of its tests."""
    after = 0
    while after < total:
        with tenant_session(actor.organization_id, actor.id) as db:
            page = run_reports.results_after(db, actor.organization_id, run_id, after)
        if page:
            yield page
        # A page that was cut short by its size goes on after its last row; the rest of the window has no result.
        after = page[-1].place if page and page[-1].place < after + EXPORT_ROWS else after + EXPORT_ROWS
