"""Organizations, users and tokens.

What crosses organizations opens a session of its own and commits it; it is for superusers, and for the command line,
which makes the first one. Whether the caller is a superuser is asked by the routes.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from rhesis.backend.app.identity import identity_session
from rhesis.backend.app.models import Organization, Token, User
from rhesis.backend.app.repositories import identity as queries
from rhesis.backend.app.repositories.listing import ListParameters, Page
from rhesis.backend.domain.actor import Actor
from rhesis.backend.domain.text import clean_text
from rhesis.backend.errors import Conflict, Forbidden, InputProblem, InvalidInput, NotFound
from rhesis.backend.security.tokens import mint_token

DEFAULT_TOKEN_DAYS = 90
MAX_TOKEN_DAYS = 365
MAX_NAME_LENGTH = 200
_MAX_EMAIL_LENGTH = 254
_EMAIL = re.compile(r"[^@\s\x00-\x1f]+@[^@\s\x00-\x1f]+")


@dataclass(frozen=True)
class CreatedToken:
    """A new token. `plain` exists here and in the answer to whoever asked for it, nowhere else."""

    row: Token
    plain: str

    def __repr__(self) -> str:
        return f"CreatedToken({self.row.id})"


@dataclass(frozen=True)
class IdentityChange:
    """What to change in an organization or a user; None leaves it."""

    name: str | None = None
    is_active: bool | None = None


def create_organization(name: str) -> Organization:
    """Create an organization."""
    with identity_session() as db:
        organization = Organization(name=_checked_name(name, required=True))
        queries.add(db, organization)
        return organization


def list_organizations(parameters: ListParameters) -> Page[Organization]:
    """Return organizations."""
    with identity_session() as db:
        return queries.list_organizations(db, parameters)


def get_organization(organization_id: UUID) -> Organization:
    """Return an organization; raise `NotFound`."""
    with identity_session() as db:
        return _organization(db, organization_id)


def update_organization(actor: Actor, organization_id: UUID, change: IdentityChange) -> Organization:
    """Rename an organization or switch it on or off; with it, all of its tokens."""
    with identity_session() as db:
        organization = _organization(db, organization_id)
        if organization.id == actor.organization_id and change.is_active is False:
            raise _own("organization", organization.id)
        _apply(organization, change, name_required=True)
        queries.save(db, organization)
        return organization


def create_user(organization_id: UUID, email: str, *, name: str = "", is_superuser: bool = False) -> User:
    """Create a user of an organization.

    Raises `NotFound` for an unknown organization and `Conflict` for an address that somebody has already.
    """
    address, changed = clean_text(email.strip())
    if changed or len(address) > _MAX_EMAIL_LENGTH or not _EMAIL.fullmatch(address):
        raise _invalid("email", f"is not an e-mail address of at most {_MAX_EMAIL_LENGTH} characters")
    user = User(
        organization_id=organization_id,
        email=address,
        name=_checked_name(name),
        is_superuser=is_superuser,
        is_active=True,
    )
    try:
        with identity_session() as db:
            _organization(db, organization_id)
            queries.add(db, user)
    except IntegrityError as error:
        raise Conflict("a user with this e-mail address exists already", code="email_taken") from error
    return user


def list_users(parameters: ListParameters) -> Page[User]:
    """Return the users of every organization."""
    with identity_session() as db:
        return queries.list_users(db, parameters)


def get_user(user_id: UUID) -> User:
    """Return a user of any organization; raise `NotFound`."""
    with identity_session() as db:
        return _user(db, user_id)


def find_user_by_email(email: str) -> User:
    """Return the user with this address; raise `NotFound`."""
    with identity_session() as db:
        user = queries.find_user_by_email(db, email.strip())
    if user is None:
        raise NotFound(f"there is no user {email.strip()}: rhesis user create makes one")
    return user


def get_own_user(db: Session, actor: Actor) -> User:
    """Return the caller himself."""
    return _user(db, actor.id, organization_id=actor.organization_id)


def update_user(actor: Actor, user_id: UUID, change: IdentityChange) -> User:
    """Rename a user or switch him on or off; with him, all of his tokens."""
    with identity_session() as db:
        user = _user(db, user_id)
        if user.id == actor.id and change.is_active is False:
            raise _own("user", user.id)
        _apply(user, change)
        queries.save(db, user)
        return user


def create_token(user_id: UUID, *, name: str = "", days: int = DEFAULT_TOKEN_DAYS) -> CreatedToken:
    """Create a token of any user, as a superuser or the command line does; raise `NotFound` for an unknown one."""
    with identity_session() as db:
        user = _user(db, user_id)
        return _add_token(db, user.organization_id, user.id, name=name, days=days)


def create_own_token(db: Session, actor: Actor, *, name: str = "", days: int = DEFAULT_TOKEN_DAYS) -> CreatedToken:
    """Create a token of the caller."""
    return _add_token(db, actor.organization_id, actor.id, name=name, days=days)


def list_own_tokens(db: Session, actor: Actor, parameters: ListParameters) -> Page[Token]:
    """Return the caller's tokens."""
    return queries.list_tokens(db, actor.id, parameters)


def list_tokens_of(user_id: UUID, parameters: ListParameters) -> Page[Token]:
    """Return any user's tokens; raise `NotFound` for an unknown user."""
    with identity_session() as db:
        _user(db, user_id)
        return queries.list_tokens(db, user_id, parameters)


def revoke_token(db: Session, actor: Actor, token_id: UUID) -> None:
    """Revoke a token: one's own, or as a superuser anybody's. It is refused from the next request on.

    Raises `Forbidden` for another user's token of the same organization, `NotFound` for any other.
    """
    token = queries.find_token(db, token_id, organization_id=actor.organization_id)
    if token is not None:
        actor.require_change(token.user_id, what="token", subject_id=token.id)
        queries.revoke_token(db, token.id)
    elif actor.is_superuser:
        _revoke_anywhere(token_id)
    else:
        raise _not_found("token", token_id)


def require_may_act_for(actor: Actor, user_id: UUID) -> None:
    """Raise `Forbidden` unless the caller is this user or a superuser."""
    if actor.id != user_id and not actor.is_superuser:
        raise Forbidden("Only a superuser may ask for another user's tokens.", subject_id=str(user_id))


def _revoke_anywhere(token_id: UUID) -> None:
    with identity_session() as db:
        if queries.find_token(db, token_id) is None:
            raise _not_found("token", token_id)
        queries.revoke_token(db, token_id)


def _add_token(db: Session, organization_id: UUID, user_id: UUID, *, name: str, days: int) -> CreatedToken:
    if not 1 <= days <= MAX_TOKEN_DAYS:
        raise _invalid("days", f"must be between 1 and {MAX_TOKEN_DAYS}")
    minted = mint_token()
    row = Token(
        organization_id=organization_id,
        user_id=user_id,
        name=_checked_name(name),
        digest=minted.digest,
        prefix=minted.prefix,
        expires_at=datetime.now(UTC) + timedelta(days=days),
    )
    queries.add(db, row)
    return CreatedToken(row, minted.plain)


def _organization(db: Session, organization_id: UUID) -> Organization:
    organization = queries.find_organization(db, organization_id)
    if organization is None:
        raise _not_found("organization", organization_id)
    return organization


def _user(db: Session, user_id: UUID, *, organization_id: UUID | None = None) -> User:
    user = queries.find_user(db, user_id, organization_id=organization_id)
    if user is None:
        raise _not_found("user", user_id)
    return user


def _apply(row: Organization | User, change: IdentityChange, *, name_required: bool = False) -> None:
    if change.name is not None:
        row.name = _checked_name(change.name, required=name_required)
    if change.is_active is not None:
        row.is_active = change.is_active


def _checked_name(name: str, *, required: bool = False) -> str:
    stripped, changed = clean_text(name.strip())
    if changed or len(stripped) > MAX_NAME_LENGTH or (required and not stripped):
        at_least = "1" if required else "0"
        raise _invalid("name", f"must have {at_least} to {MAX_NAME_LENGTH} characters, none of them NUL")
    return stripped


def _invalid(where: str, message: str) -> InvalidInput:
    return InvalidInput(f"{where} {message}", problems=(InputProblem(where, message),))


def _not_found(what: str, subject_id: UUID) -> NotFound:
    return NotFound(f"there is no {what} {subject_id}", subject_id=str(subject_id))


def _own(what: str, subject_id: UUID) -> Conflict:
    return Conflict(
        f"{what} {subject_id} is your own: let another superuser switch it off",
        code="own_account",
        subject_id=str(subject_id),
    )
