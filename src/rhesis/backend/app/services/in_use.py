"""Say what an object that cannot be deleted is used by."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from rhesis.backend.errors import Conflict

NAMED: Final = 10


def refuse_if_used(what: str, subject_id: UUID, users: Sequence[UUID], *, by: str, advice: str) -> None:
    """Raise `Conflict` with code `in_use` when there are `users`: ids of objects called `by`, at most `NAMED`."""
    if users:
        named = ", ".join(map(str, users)) + (" and perhaps more" if len(users) == NAMED else "")
        raise Conflict(
            f"{what} {subject_id} is used by {by} {named}: {advice}", code="in_use", subject_id=str(subject_id)
        )
