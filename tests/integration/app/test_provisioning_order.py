"""Processes that start together: whoever finds the newest revision may rely on everything else being there."""

import pytest

from rhesis.backend import provision
from support.database import TestDatabase, environment


def test_the_revision_is_written_last_and_under_the_lock(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Outside of the lock two would create the queue's tables at once; after it a worker would come too early."""
    database = TestDatabase(empty_database_url)
    make = provision.create_queue_tables
    seen = []

    def look(url: object) -> None:
        locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND database = "
        locks += "(SELECT oid FROM pg_database WHERE datname = current_database())"
        seen.append((database.fetch(locks)[0][0], provision.current_revision()))
        make(url)

    monkeypatch.setattr(provision, "create_queue_tables", look)
    with environment(DATABASE_URL=empty_database_url):
        assert provision.migrate() == provision.head_revision()
        assert provision.current_revision() == provision.head_revision()
    assert seen == [(1, None)]
