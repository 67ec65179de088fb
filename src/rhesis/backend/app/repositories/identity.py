"""Queries over organizations, users and tokens.

They see what the session's role sees: one organization in a request's session, all in an identity session.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Select, func, or_, select, update
from sqlalchemy.orm import Session

from rhesis.backend.app.models import Organization, Token, User
from rhesis.backend.app.repositories.listing import Fields, ListParameters, Page, Row, page
from rhesis.backend.domain.actor import Actor

_USE_NOTED_EVERY = timedelta(minutes=1)

ORGANIZATION_FIELDS: Fields = {
    "id": Organization.id,
    "name": Organization.name,
    "is_active": Organization.is_active,
    "created_at": Organization.created_at,
    "updated_at": Organization.updated_at,
}
USER_FIELDS: Fields = {
    "id": User.id,
    "organization_id": User.organization_id,
    "email": User.email,
    "name": User.name,
    "is_active": User.is_active,
    "is_superuser": User.is_superuser,
    "created_at": User.created_at,
    "updated_at": User.updated_at,
}
TOKEN_FIELDS: Fields = {
    "id": Token.id,
    "name": Token.name,
    "prefix": Token.prefix,
    "expires_at": Token.expires_at,
    "last_used_at": Token.last_used_at,
    "revoked_at": Token.revoked_at,
    "created_at": Token.created_at,
    "updated_at": Token.updated_at,
}


@dataclass(frozen=True)
class Bearer:
    """A valid token's user. `is_use_stale` says that its last use is worth writing down."""

    token_id: UUID
    actor: Actor
    is_use_stale: bool


def find_bearer(db: Session, digest: str) -> Bearer | None:
    """Return the user of a token that is valid now, by the database's clock."""
    stale = or_(Token.last_used_at.is_(None), Token.last_used_at < func.now() - _USE_NOTED_EVERY)
    row = db.execute(
        select(Token.id, User.id, User.organization_id, User.is_superuser, stale)
        .join(User, (User.id == Token.user_id) & (User.organization_id == Token.organization_id))
        .join(Organization, Organization.id == Token.organization_id)
        .where(
            Token.digest == digest,
            Token.revoked_at.is_(None),
            Token.expires_at > func.now(),
            User.is_active,
            Organization.is_active,
        )
    ).one_or_none()
    if row is None:
        return None
    token_id, user_id, organization_id, is_superuser, is_use_stale = row
    return Bearer(token_id, Actor(user_id, organization_id, is_superuser), is_use_stale)


def note_use(db: Session, token_id: UUID) -> None:
    """Write down that a token is used now."""
    db.execute(update(Token).where(Token.id == token_id).values(last_used_at=func.now()))


def list_organizations(db: Session, parameters: ListParameters) -> Page[Organization]:
    """Return organizations."""
    return page(db, select(Organization), parameters, fields=ORGANIZATION_FIELDS)


def list_users(db: Session, parameters: ListParameters) -> Page[User]:
    """Return users."""
    return page(db, select(User), parameters, fields=USER_FIELDS)


def list_tokens(db: Session, user_id: UUID, parameters: ListParameters) -> Page[Token]:
    """Return a user's tokens, revoked ones included."""
    return page(db, select(Token).where(Token.user_id == user_id), parameters, fields=TOKEN_FIELDS)


def find_organization(db: Session, organization_id: UUID) -> Organization | None:
    """Return an organization."""
    return db.get(Organization, organization_id)


def find_user(db: Session, user_id: UUID, *, organization_id: UUID | None = None) -> User | None:
    """Return a user; with `organization_id`, only one of that organization."""
    return db.scalar(_within(select(User).where(User.id == user_id), User.organization_id, organization_id))


def find_user_by_email(db: Session, email: str) -> User | None:
    """Return the user with this address, however it is spelt in capitals."""
    return db.scalar(select(User).where(func.lower(User.email) == email.lower()))


def find_token(db: Session, token_id: UUID, *, organization_id: UUID | None = None) -> Token | None:
    """Return a token without its digest; with `organization_id`, only one of that organization."""
    return db.scalar(_within(select(Token).where(Token.id == token_id), Token.organization_id, organization_id))


def add(db: Session, row: Organization | User | Token) -> None:
    """Insert a row; what the database fills in comes back with it."""
    db.add(row)
    db.flush()


def save(db: Session, row: Organization | User) -> None:
    """Write a row's changes and read what the database changed with them."""
    db.flush()
    db.refresh(row)


def revoke_token(db: Session, token_id: UUID) -> None:
    """Make a token useless from now on; a second time changes nothing."""
    db.execute(update(Token).where(Token.id == token_id, Token.revoked_at.is_(None)).values(revoked_at=func.now()))


def _within(statement: Select[Row], column: Any, organization_id: UUID | None) -> Select[Row]:
    return statement if organization_id is None else statement.where(column == organization_id)
