"""What may be done with endpoints, and the only place where their credentials are opened."""

from typing import Final
from uuid import UUID, uuid4

from pydantic import SecretStr
from sqlalchemy.orm import Session

from rhesis.backend.app.models import Endpoint
from rhesis.backend.app.repositories import endpoints
from rhesis.backend.app.repositories.listing import ListParameters, Page
from rhesis.backend.app.schemas.endpoints import EndpointCreate, EndpointUpdate
from rhesis.backend.app.services.endpoint_secrets import MAPPINGS, TOKEN, Seal, secrets_after
from rhesis.backend.app.services.in_use import NAMED, refuse_if_used
from rhesis.backend.app.services.secrets import secret_box
from rhesis.backend.domain.actor import Actor
from rhesis.backend.errors import NotFound
from rhesis.backend.outgoing.addresses import AddressPolicy
from rhesis.backend.outgoing.endpoint import EndpointSpec, check_spec
from rhesis.backend.settings import get_settings

_WITHOUT_EFFECT: Final = frozenset({"name", "description"})


def list_endpoints(db: Session, actor: Actor, parameters: ListParameters) -> Page[Endpoint]:
    """Return a part of the organization's endpoints."""
    return endpoints.page_of_endpoints(db, actor.organization_id, parameters)


def get_endpoint(db: Session, actor: Actor, endpoint_id: UUID) -> Endpoint:
    """Return an endpoint of the actor's organization; raise `NotFound`."""
    return _found(endpoints.find(db, actor.organization_id, endpoint_id), endpoint_id)


def create_endpoint(db: Session, actor: Actor, wanted: EndpointCreate) -> Endpoint:
    """Add an endpoint; raise `InvalidInput` when it could not be called."""
    # The id is made here: secrets are sealed for their row before it exists.
    endpoint = Endpoint(id=uuid4(), organization_id=actor.organization_id, user_id=actor.id)
    seal = _sealer(endpoint)
    for name in EndpointCreate.model_fields.keys() - {*MAPPINGS, TOKEN}:
        setattr(endpoint, name, getattr(wanted, name))
    for name in MAPPINGS:
        setattr(endpoint, name, {key: seal(value) for key, value in getattr(wanted, name).items()})
    endpoint.auth_token = seal(wanted.auth_token) if wanted.auth_token else None
    check_spec(to_spec(endpoint), _policy())
    db.add(endpoint)
    db.flush()
    return endpoint


def change_endpoint(
    db: Session, actor: Actor, endpoint_id: UUID, change: EndpointUpdate
) -> tuple[Endpoint, tuple[str, ...]]:
    """Change an endpoint and return it with the names of the secrets that this dropped.

    A new url, method or path drops every stored secret that is not sent again, and a new template the token.
    """
    endpoint = _changeable(db, actor, endpoint_id)
    changes = change.changes()
    secrets = secrets_after(endpoint, changes, _sealer(endpoint))
    for name in changes.keys() - {*MAPPINGS, TOKEN}:
        setattr(endpoint, name, changes[name])
    for name, values in secrets.mappings.items():
        setattr(endpoint, name, values)
    endpoint.auth_token = secrets.token
    if changes.keys() - _WITHOUT_EFFECT:
        check_spec(to_spec(endpoint), _policy())
    db.flush()
    db.refresh(endpoint)
    return endpoint, secrets.dropped


def delete_endpoint(db: Session, actor: Actor, endpoint_id: UUID) -> None:
    """Delete an endpoint; raise `Conflict` while a configuration uses it."""
    endpoint = _changeable(db, actor, endpoint_id)
    refuse_if_used(
        "endpoint",
        endpoint.id,
        endpoints.configurations_of(db, actor.organization_id, endpoint.id, limit=NAMED),
        by="test configuration",
        advice="delete that first, or give it another endpoint",
    )
    endpoints.remove(db, actor.organization_id, endpoint.id)


def to_spec(endpoint: Endpoint) -> EndpointSpec:
    """Return the endpoint with its credentials opened, to be called; never log or store it.

    Raises `SecretKeyError`, which names the endpoint, when no key opens them.
    """
    box = secret_box()

    def opened(sealed: str) -> str:
        return box.open(sealed, organization_id=endpoint.organization_id, owner_id=endpoint.id)

    return EndpointSpec(
        id=endpoint.id,
        organization_id=endpoint.organization_id,
        name=endpoint.name,
        protocol=endpoint.protocol,
        url=endpoint.url,
        method=endpoint.method,
        endpoint_path=endpoint.endpoint_path,
        request_headers={name: opened(value) for name, value in endpoint.request_headers.items()},
        query_params={name: opened(value) for name, value in endpoint.query_params.items()},
        request_body_template=endpoint.request_body_template,
        response_format=endpoint.response_format,
        response_mappings=endpoint.response_mappings,
        auth_type=endpoint.auth_type,
        auth_token=opened(endpoint.auth_token) if endpoint.auth_token else None,
    )


def _sealer(endpoint: Endpoint) -> Seal:
    box = secret_box()

    def seal(value: SecretStr) -> str:
        return box.seal(value.get_secret_value(), organization_id=endpoint.organization_id, owner_id=endpoint.id)

    return seal


def _policy() -> AddressPolicy:
    return AddressPolicy(get_settings().allowed_networks)


def _changeable(db: Session, actor: Actor, endpoint_id: UUID) -> Endpoint:
    endpoint = _found(endpoints.lock(db, actor.organization_id, endpoint_id), endpoint_id)
    actor.require_change(endpoint.user_id, what="endpoint", subject_id=endpoint.id)
    return endpoint


def _found(endpoint: Endpoint | None, endpoint_id: UUID) -> Endpoint:
    if endpoint is None:
        raise NotFound(f"endpoint {endpoint_id} is not there", subject_id=str(endpoint_id))
    return endpoint
