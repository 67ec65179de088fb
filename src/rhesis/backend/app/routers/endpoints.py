"""Endpoints: what is tested, and the credentials to talk to it."""

from uuid import UUID

from fastapi import APIRouter, Response, status

from rhesis.backend.app import models
from rhesis.backend.app.dependencies import CurrentActor, DatabaseSession, ListQueryParameters, set_total
from rhesis.backend.app.problems import PROBLEM_RESPONSES
from rhesis.backend.app.schemas.endpoints import Endpoint, EndpointCreate, EndpointUpdate, UpdatedEndpoint
from rhesis.backend.app.services import endpoints

router = APIRouter(prefix="/endpoints", tags=["endpoints"], responses=PROBLEM_RESPONSES)


@router.get("", response_model=list[Endpoint])
def list_endpoints(
    db: DatabaseSession, actor: CurrentActor, parameters: ListQueryParameters, response: Response
) -> tuple[models.Endpoint, ...]:
    """List the organization's endpoints."""
    found = endpoints.list_endpoints(db, actor, parameters)
    set_total(response, found)
    return found.items


@router.post("", response_model=Endpoint, status_code=status.HTTP_201_CREATED)
def create_endpoint(given: EndpointCreate, db: DatabaseSession, actor: CurrentActor) -> models.Endpoint:
    """Add an endpoint. Header values, query values and the token are stored encrypted and never shown."""
    return endpoints.create_endpoint(db, actor, given)


@router.get("/{endpoint_id}", response_model=Endpoint)
def get_endpoint(endpoint_id: UUID, db: DatabaseSession, actor: CurrentActor) -> models.Endpoint:
    """Show an endpoint."""
    return endpoints.get_endpoint(db, actor, endpoint_id)


@router.patch("/{endpoint_id}")
def update_endpoint(
    endpoint_id: UUID, given: EndpointUpdate, db: DatabaseSession, actor: CurrentActor
) -> UpdatedEndpoint:
    """Change an endpoint.

    A new url, method or path drops all stored secrets that are not sent again; a new template drops the token.
    """
    endpoint, dropped = endpoints.change_endpoint(db, actor, endpoint_id, given)
    return UpdatedEndpoint.model_validate(endpoint).model_copy(update={"dropped_secrets": list(dropped)})


@router.delete("/{endpoint_id}", status_code=status.HTTP_204_NO_CONTENT)
def delete_endpoint(endpoint_id: UUID, db: DatabaseSession, actor: CurrentActor) -> None:
    """Delete an endpoint that no configuration uses."""
    endpoints.delete_endpoint(db, actor, endpoint_id)
