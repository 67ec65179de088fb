"""API tokens: everybody's own, and for superusers everybody's."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Response, status

from rhesis.backend.app import models
from rhesis.backend.app.dependencies import CurrentActor, DatabaseSession, ListQueryParameters, set_total
from rhesis.backend.app.problems import PROBLEM_RESPONSES
from rhesis.backend.app.schemas.identity import Token, TokenCreate, TokenCreated
from rhesis.backend.app.services import identity

router = APIRouter(prefix="/tokens", tags=["tokens"], responses=PROBLEM_RESPONSES)


@router.get("", response_model=list[Token])
def list_tokens(
    db: DatabaseSession,
    actor: CurrentActor,
    parameters: ListQueryParameters,
    response: Response,
    user_id: Annotated[UUID | None, Query(description="Another user's; for superusers.")] = None,
) -> tuple[models.Token, ...]:
    """List the caller's tokens, revoked and expired ones included."""
    if user_id is None or user_id == actor.id:
        found = identity.list_own_tokens(db, actor, parameters)
    else:
        identity.require_may_act_for(actor, user_id)
        found = identity.list_tokens_of(user_id, parameters)
    set_total(response, found)
    return found.items


@router.post("", status_code=status.HTTP_201_CREATED)
def create_token(given: TokenCreate, db: DatabaseSession, actor: CurrentActor) -> TokenCreated:
    """Create a token. This answer is the only place that ever shows it."""
    if given.user_id is None or given.user_id == actor.id:
        created = identity.create_own_token(db, actor, name=given.name, days=given.days)
    else:
        identity.require_may_act_for(actor, given.user_id)
        created = identity.create_token(given.user_id, name=given.name, days=given.days)
    return TokenCreated(**Token.model_validate(created.row).model_dump(), token=created.plain)


@router.delete("/{token_id}", status_code=status.HTTP_204_NO_CONTENT)
def revoke_token(token_id: UUID, db: DatabaseSession, actor: CurrentActor) -> None:
    """Revoke a token; it is refused from the next request on."""
    identity.revoke_token(db, actor, token_id)
