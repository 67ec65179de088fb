"""The one way past the tenants' policies: organizations, users and tokens as role `rhesis_identity`.

Whose token it is must be found before a tenant is known, and superusers look after all organizations. The role is taken
for one transaction and ends with it; it reaches these three tables and no other. No other module may take it.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import text
from sqlalchemy.orm import Session

from rhesis.backend.app.database import SessionLocal
from rhesis.backend.app.repositories import identity as queries
from rhesis.backend.domain.actor import Actor

_TAKE_ROLE = text("SET LOCAL ROLE rhesis_identity")


@contextmanager
def identity_session() -> Iterator[Session]:
    """Open a session over every organization's identities; commit at the end, roll back on an exception.

    It is one transaction: after a commit in between, the role would be gone and nothing be seen.
    """
    with SessionLocal() as db, db.begin():
        db.execute(_TAKE_ROLE)
        yield db


def find_actor(digest: str) -> Actor | None:
    """Return whose valid token this is; None when it is unknown, expired or revoked, or its user or organization off.

    When it was last used is written at most once a minute.
    """
    with identity_session() as db:
        found = queries.find_bearer(db, digest)
        if found is None:
            return None
        if found.is_use_stale:
            queries.note_use(db, found.token_id)
        return found.actor
