"""Who calls: organizations, users and their tokens."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, Index, UniqueConstraint, func, text
from sqlalchemy.orm import Mapped, mapped_column

from rhesis.backend.app.models.base import SCHEMA, Base, Keyed, TenantOwned, tenant_key


class Organization(Keyed, Base):
    """A tenant."""

    __tablename__ = "organization"

    name: Mapped[str]
    is_active: Mapped[bool] = mapped_column(server_default=text("true"))


class User(Keyed, Base):
    """A person or program of one organization."""

    __tablename__ = "user"

    organization_id: Mapped[UUID] = mapped_column(ForeignKey(f"{SCHEMA}.organization.id"))
    email: Mapped[str]
    name: Mapped[str] = mapped_column(server_default="")
    is_active: Mapped[bool] = mapped_column(server_default=text("true"))
    is_superuser: Mapped[bool] = mapped_column(server_default=text("false"))
    __table_args__ = (
        UniqueConstraint("organization_id", "id", name="user_organization_id_id_key"),
        Index("user_email_key", func.lower(text("email")), unique=True),
    )


class Token(TenantOwned, Base):
    """An API token: its digest, never the token. The application's role cannot read `digest`."""

    __tablename__ = "token"

    name: Mapped[str] = mapped_column(server_default="")
    digest: Mapped[str] = mapped_column(deferred=True, deferred_raiseload=True)
    prefix: Mapped[str]
    expires_at: Mapped[datetime]
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    __table_args__ = (
        tenant_key("user_id", "user"),
        Index("token_digest_key", "digest", unique=True),
        Index("token_user_idx", "organization_id", "user_id"),
    )
