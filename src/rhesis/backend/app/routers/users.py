"""Users: a superuser's business, except one's own."""

from uuid import UUID

from fastapi import APIRouter, Depends, Response, status

from rhesis.backend.app import models
from rhesis.backend.app.dependencies import (
    CurrentActor,
    DatabaseSession,
    ListQueryParameters,
    Superuser,
    require_superuser,
    set_total,
)
from rhesis.backend.app.problems import PROBLEM_RESPONSES
from rhesis.backend.app.schemas.identity import User, UserCreate, UserUpdate
from rhesis.backend.app.services import identity

router = APIRouter(prefix="/users", tags=["users"], responses=PROBLEM_RESPONSES)
_for_superusers = [Depends(require_superuser)]


@router.get("/me", response_model=User)
def get_own_user(db: DatabaseSession, actor: CurrentActor) -> models.User:
    """Show the caller himself."""
    return identity.get_own_user(db, actor)


@router.get("", response_model=list[User], dependencies=_for_superusers)
def list_users(parameters: ListQueryParameters, response: Response) -> tuple[models.User, ...]:
    """List the users of every organization."""
    found = identity.list_users(parameters)
    set_total(response, found)
    return found.items


@router.post("", response_model=User, status_code=status.HTTP_201_CREATED, dependencies=_for_superusers)
def create_user(given: UserCreate) -> models.User:
    """Create a user. Superusers are made with `rhesis user create --superuser` alone."""
    return identity.create_user(given.organization_id, given.email, name=given.name)


@router.get("/{user_id}", response_model=User, dependencies=_for_superusers)
def get_user(user_id: UUID) -> models.User:
    """Show a user."""
    return identity.get_user(user_id)


@router.patch("/{user_id}", response_model=User)
def update_user(user_id: UUID, given: UserUpdate, actor: Superuser) -> models.User:
    """Rename a user, or switch him on or off: a token of one who is off is refused."""
    return identity.update_user(actor, user_id, identity.IdentityChange(name=given.name, is_active=given.is_active))
