"""Organizations, users and tokens over HTTP. Whether a user is a superuser cannot be set here."""

from typing import Annotated
from uuid import UUID

from pydantic import AwareDatetime, Field, StringConstraints

from rhesis.backend.app.schemas.common import Input, KeyedOutput, Name, OwnedOutput
from rhesis.backend.app.services.identity import DEFAULT_TOKEN_DAYS, MAX_NAME_LENGTH, MAX_TOKEN_DAYS

OptionalName = Annotated[str, StringConstraints(strip_whitespace=True, max_length=MAX_NAME_LENGTH)]


class OrganizationCreate(Input):
    """A new organization."""

    name: Name


class OrganizationUpdate(Input):
    """A change of an organization; what is left out stays."""

    name: Name | None = None
    is_active: bool | None = None


class Organization(KeyedOutput):
    """A tenant."""

    name: str
    is_active: bool


class UserCreate(Input):
    """A new user of an organization."""

    organization_id: UUID
    email: Annotated[str, StringConstraints(strip_whitespace=True, min_length=3, max_length=254)]
    name: OptionalName = ""


class UserUpdate(Input):
    """A change of a user; what is left out stays."""

    name: OptionalName | None = None
    is_active: bool | None = None


class User(KeyedOutput):
    """A person or program of one organization."""

    organization_id: UUID
    email: str
    name: str
    is_active: bool
    is_superuser: bool


class TokenCreate(Input):
    """A new token; of the caller, unless a superuser names another user."""

    name: OptionalName = ""
    days: int = Field(DEFAULT_TOKEN_DAYS, ge=1, le=MAX_TOKEN_DAYS, description="Days until it expires.")
    user_id: UUID | None = None


class Token(OwnedOutput):
    """A token without what makes it one: its first characters, for recognizing it."""

    name: str
    prefix: str
    expires_at: AwareDatetime
    last_used_at: AwareDatetime | None
    revoked_at: AwareDatetime | None


class TokenCreated(Token):
    """A new token, this one time with the token itself."""

    token: str
