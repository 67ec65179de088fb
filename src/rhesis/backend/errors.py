"""Every error the service raises on purpose.

    RhesisError
    ├── ConfigurationError          settings that contradict each other or are missing
    │   └── SecretKeyError          the key that encrypts credentials is missing or wrong
    ├── DatabaseUnavailable         no usable database; `kind` says which of four reasons
    ├── EmbeddedServerError         the PostgreSQL that ships with the project cannot run
    ├── InvalidInput                the caller sent something that cannot be accepted
    ├── NotFound                    no such object for this tenant
    ├── Forbidden                   the object exists here, but is not the caller's to change
    ├── Conflict                    the object's state does not allow it
    ├── Unauthenticated             no valid token
    ├── UnexpectedFailure           a task raised what nobody foresaw; the message is the type of it alone
    └── TenantMismatch              a message and the object it names belong to different tenants

Each message says what happened, to which id, and what to do next. No message carries a secret or a payload.
"""

from dataclasses import dataclass
from typing import Literal

DatabaseFailure = Literal["unreachable", "credentials", "role", "schema"]


class RhesisError(Exception):
    """Something the service refuses or cannot do, said in one line."""

    code = "error"

    def __init__(self, message: str | None = None, *, subject_id: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip())
        self.subject_id = subject_id


class ConfigurationError(RhesisError):
    """The settings cannot be used together."""

    code = "configuration"


class SecretKeyError(ConfigurationError):
    """The key that encrypts stored credentials is missing or does not fit."""

    code = "secret_key"


class DatabaseUnavailable(RhesisError):
    """No usable database.

    `kind` is `unreachable` (nothing answers), `credentials` (it answers and refuses the login), `role` (logged in, but
    the role is missing or has too many rights) or `schema` (no tables, or of another version).
    """

    code = "database_unavailable"

    def __init__(self, message: str, *, kind: DatabaseFailure) -> None:
        super().__init__(message)
        self.kind: DatabaseFailure = kind


class EmbeddedServerError(RhesisError):
    """The PostgreSQL that ships with the project cannot run here."""

    code = "embedded_server"


@dataclass(frozen=True)
class InputProblem:
    """One thing wrong with the input: `where` is a field path or `row 17`, `message` is one sentence."""

    where: str
    message: str


class InvalidInput(RhesisError):
    """The input cannot be accepted; nothing was stored."""

    code = "invalid_input"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        problems: tuple[InputProblem, ...] = (),
        subject_id: str | None = None,
    ) -> None:
        super().__init__(message, subject_id=subject_id)
        self.code = code or type(self).code
        self.problems = problems


class NotFound(RhesisError):
    """No such object in this organization."""

    code = "not_found"


class Forbidden(RhesisError):
    """Only the owner or a superuser may do this."""

    code = "forbidden"


class Conflict(RhesisError):
    """The state of the object does not allow this."""

    code = "conflict"

    def __init__(self, message: str, *, code: str | None = None, subject_id: str | None = None) -> None:
        super().__init__(message, subject_id=subject_id)
        self.code = code or type(self).code


class Unauthenticated(RhesisError):
    """A valid token is needed."""

    code = "unauthenticated"


class UnexpectedFailure(RhesisError):
    """A task failed in a way nobody foresaw."""

    code = "unexpected_failure"


class TenantMismatch(RhesisError):
    """The message's organization does not own the object it names."""

    code = "tenant_mismatch"
