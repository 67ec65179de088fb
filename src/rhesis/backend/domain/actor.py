"""Who acts: the authenticated user, and the only source of a tenant."""

from dataclasses import dataclass
from uuid import UUID

from rhesis.backend.errors import Forbidden


@dataclass(frozen=True)
class Actor:
    """A user of one organization, as his token proved it.

    `id` and `organization_id` are the two names that `task_launcher` reads from a user.
    """

    id: UUID
    organization_id: UUID
    is_superuser: bool = False

    def require_change(self, owner_id: UUID, *, what: str, subject_id: UUID) -> None:
        """Raise `Forbidden` unless the actor owns the object or is a superuser of its organization."""
        if self.id != owner_id and not self.is_superuser:
            raise Forbidden(
                f"{what} {subject_id} belongs to another user: only its owner or a superuser may do this",
                subject_id=str(subject_id),
            )
