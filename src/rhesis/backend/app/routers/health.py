"""Whether the service works: for everybody, so it says little."""

from fastapi import APIRouter, Request, Response, status

from rhesis.backend.app.dependencies import ACTOR_KEY
from rhesis.backend.app.schemas.health import Health, HealthDetails
from rhesis.backend.app.services.health import CheckStatus, HealthChecker
from rhesis.backend.domain.actor import Actor

router = APIRouter(tags=["health"])


@router.get(
    "/health",
    response_model_exclude_none=True,
    responses={status.HTTP_503_SERVICE_UNAVAILABLE: {"model": Health, "description": "A check failed."}},
)
def get_health(request: Request, response: Response) -> Health:
    """Check the database and the queue; with a superuser's token, add figures."""
    checker: HealthChecker = request.app.state.health
    found = checker.check()
    if found.status is CheckStatus.FAILED:
        response.status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    actor = request.scope.get(ACTOR_KEY)
    details = checker.details() if isinstance(actor, Actor) and actor.is_superuser else None
    health = Health.model_validate(found, from_attributes=True)
    return health.model_copy(update={"details": HealthDetails.model_validate(details) if details else None})
