"""Encrypt stored credentials anew, after a key was put in front of the others."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from uuid import UUID

from rhesis.backend.app.database import tenant_session
from rhesis.backend.app.models import Endpoint
from rhesis.backend.app.repositories import endpoints
from rhesis.backend.app.repositories.listing import ListParameters
from rhesis.backend.app.services.identity import list_organizations
from rhesis.backend.app.services.secrets import secret_box
from rhesis.backend.errors import SecretKeyError
from rhesis.backend.security import SecretBox

_PAGE_ROWS = 500


@dataclass(frozen=True)
class RotationReport:
    """How much was encrypted anew, and the endpoints with a credential that no key opens."""

    endpoints: int
    values: int
    unreadable: tuple[UUID, ...]


def rotate_secrets() -> RotationReport:
    """Encrypt the credentials of every organization's endpoints with the first key, each endpoint by itself.

    It can be repeated, also after it was cut short. What no key opens is left as it is.
    """
    box = secret_box()
    counts: list[int] = []
    unreadable: list[UUID] = []
    for organization_id in _organization_ids():
        for endpoint_id in _endpoint_ids(organization_id):
            try:
                counts.append(_rotate(box, organization_id, endpoint_id))
            except SecretKeyError:
                unreadable.append(endpoint_id)
    return RotationReport(sum(count > 0 for count in counts), sum(counts), tuple(unreadable))


def _rotate(box: SecretBox, organization_id: UUID, endpoint_id: UUID) -> int:
    with tenant_session(organization_id, None) as db:
        endpoint = endpoints.lock(db, organization_id, endpoint_id)
        return _rotate_values(box, endpoint) if endpoint is not None else 0


def _rotate_values(box: SecretBox, endpoint: Endpoint) -> int:
    headers = _rotated(box, endpoint.request_headers)
    query = _rotated(box, endpoint.query_params)
    token = box.rotate(endpoint.auth_token) if endpoint.auth_token is not None else None
    endpoint.request_headers, endpoint.query_params, endpoint.auth_token = headers, query, token
    return len(headers) + len(query) + (token is not None)


def _rotated(box: SecretBox, sealed: Mapping[str, str]) -> dict[str, str]:
    return {name: box.rotate(value) for name, value in sealed.items()}


def _organization_ids() -> Iterator[UUID]:
    skip = 0
    while page := list_organizations(ListParameters(skip=skip, limit=_PAGE_ROWS, sort_by="id")).items:
        yield from (organization.id for organization in page)
        skip += len(page)


def _endpoint_ids(organization_id: UUID) -> list[UUID]:
    found: list[UUID] = []
    while True:
        wanted = ListParameters(skip=len(found), limit=_PAGE_ROWS, sort_by="id")
        with tenant_session(organization_id, None) as db:
            page = endpoints.page_of_endpoints(db, organization_id, wanted).items
        if not page:
            return found
        found += [endpoint.id for endpoint in page]
