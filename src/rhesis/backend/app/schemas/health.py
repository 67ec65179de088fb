"""The service's state over HTTP."""

from pydantic import AwareDatetime, Field

from rhesis.backend.app.schemas.common import Output
from rhesis.backend.app.services.health import CheckStatus
from rhesis.backend.errors import DatabaseFailure


class Check(Output):
    """One check: `ok`, or `failed` and why in one word."""

    status: CheckStatus
    failure: DatabaseFailure | None = Field(None, serialization_alias="class")


class HealthDetails(Output):
    """What a superuser sees besides."""

    revision: str | None
    connections_used: int
    connections_allowed: int
    newest_worker_beat_at: AwareDatetime | None
    oldest_open_run_at: AwareDatetime | None


class Health(Output):
    """All checks. `status` is `ok` when every one is; `details` are for superusers."""

    status: CheckStatus
    checks: dict[str, Check]
    details: HealthDetails | None = None
