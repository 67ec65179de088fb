"""What is tested: an HTTP endpoint and how to talk to it."""

from typing import Any

from sqlalchemy import UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from rhesis.backend.app.models.base import Base, TenantOwned, tenant_key


class Endpoint(TenantOwned, Base):
    """An endpoint. Header values, query values and the token are stored encrypted; names are not secret."""

    __tablename__ = "endpoint"

    name: Mapped[str]
    description: Mapped[str] = mapped_column(server_default="")
    protocol: Mapped[str] = mapped_column(server_default="REST")
    url: Mapped[str]
    method: Mapped[str] = mapped_column(server_default="POST")
    endpoint_path: Mapped[str] = mapped_column(server_default="")
    request_headers: Mapped[dict[str, Any]] = mapped_column(
        server_default=text("'{}'"), comment="name to encrypted value"
    )
    query_params: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"), comment="name to encrypted value")
    request_body_template: Mapped[Any | None] = mapped_column(JSONB(none_as_null=True))
    response_format: Mapped[str] = mapped_column(server_default="json")
    response_mappings: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    auth_type: Mapped[str | None]
    auth_token: Mapped[str | None] = mapped_column(comment="encrypted")
    __table_args__ = (UniqueConstraint("organization_id", "id"), tenant_key("user_id", "user"))
