"""Organizations: a superuser's business."""

from uuid import UUID

from fastapi import APIRouter, Depends, Response, status

from rhesis.backend.app import models
from rhesis.backend.app.dependencies import ListQueryParameters, Superuser, require_superuser, set_total
from rhesis.backend.app.problems import PROBLEM_RESPONSES
from rhesis.backend.app.schemas.identity import Organization, OrganizationCreate, OrganizationUpdate
from rhesis.backend.app.services import identity

router = APIRouter(
    prefix="/organizations",
    tags=["organizations"],
    responses=PROBLEM_RESPONSES,
    dependencies=[Depends(require_superuser)],
)


@router.get("", response_model=list[Organization])
def list_organizations(parameters: ListQueryParameters, response: Response) -> tuple[models.Organization, ...]:
    """List the organizations."""
    found = identity.list_organizations(parameters)
    set_total(response, found)
    return found.items


@router.post("", response_model=Organization, status_code=status.HTTP_201_CREATED)
def create_organization(given: OrganizationCreate) -> models.Organization:
    """Create an organization."""
    return identity.create_organization(given.name)


@router.get("/{organization_id}", response_model=Organization)
def get_organization(organization_id: UUID) -> models.Organization:
    """Show an organization."""
    return identity.get_organization(organization_id)


@router.patch("/{organization_id}", response_model=Organization)
def update_organization(organization_id: UUID, given: OrganizationUpdate, actor: Superuser) -> models.Organization:
    """Rename an organization, or switch it on or off: a token of one that is off is refused."""
    change = identity.IdentityChange(name=given.name, is_active=given.is_active)
    return identity.update_organization(actor, organization_id, change)
