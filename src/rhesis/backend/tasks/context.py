"""The tenant of a task: read from one place, written to one place."""

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

from celery import current_task

from rhesis.backend.errors import TenantMismatch

ORGANIZATION = "organization_id"
USER = "user_id"


@dataclass(frozen=True)
class TaskContext:
    """Whose task it is; None where nobody said."""

    organization_id: str | None = None
    user_id: str | None = None

    @property
    def is_empty(self) -> bool:
        """Whether neither is known."""
        return self.organization_id is None and self.user_id is None

    def headers(self) -> dict[str, str]:
        """Return the message headers that carry the context."""
        both = {ORGANIZATION: self.organization_id, USER: self.user_id}
        return {name: value for name, value in both.items() if value is not None}


def context_of(request: Any) -> TaskContext:
    """Return the context of a task request.

    A worker shows custom headers as attributes of the request and in `request.headers`; eager mode only in the latter.
    """
    headers = getattr(request, "headers", None) or {}
    return TaskContext(
        _text(headers.get(ORGANIZATION) or getattr(request, ORGANIZATION, None)),
        _text(headers.get(USER) or getattr(request, USER, None)),
    )


def current_context() -> TaskContext:
    """Return the context of the task that runs in this thread; empty outside of any."""
    return context_of(current_task.request) if current_task else TaskContext()


def take_from(values: MutableMapping[str, Any]) -> TaskContext:
    """Remove the two names from `values` and return what they held."""
    return TaskContext(_text(values.pop(ORGANIZATION, None)), _text(values.pop(USER, None)))


def publishing_headers(given: Mapping[str, Any] | None, from_kwargs: TaskContext) -> dict[str, Any]:
    """Return the headers of a message that is about to be published, with its tenant.

    Explicit headers win over keyword arguments; without either a task passes on its own tenant. A task may not publish
    for another organization than its own.
    """
    headers = dict(given or {})
    explicit = TaskContext(_text(headers.get(ORGANIZATION)), _text(headers.get(USER)))
    own = current_context()
    context = next((found for found in (explicit, from_kwargs) if not found.is_empty), own)
    if own.organization_id and context.organization_id and own.organization_id != context.organization_id:
        raise TenantMismatch(
            f"a task of organization {own.organization_id} may not publish for organization {context.organization_id}"
        )
    return headers | context.headers()


def _text(value: Any) -> str | None:
    return None if value is None or value == "" else str(value)
