"""What goes over HTTP, in and out."""

from rhesis.backend.app.schemas.identity import User

__all__ = ["User"]
