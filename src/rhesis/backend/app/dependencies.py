"""What routes ask for: the caller, and a session bound to the caller's organization.

The tenant comes from the authenticated caller and from nowhere else.
"""

from collections.abc import Callable, Iterator
from typing import Annotated, Any

from fastapi import Depends, Query, Request, Response
from sqlalchemy.orm import Session

from rhesis.backend.app.database import DEFAULT_POOL_SIZE, tenant_session
from rhesis.backend.app.repositories.listing import ListParameters, Page
from rhesis.backend.app.schemas.common import ListQuery
from rhesis.backend.domain.actor import Actor
from rhesis.backend.errors import Forbidden, InputProblem, InvalidInput, Unauthenticated

ACTOR_KEY = "rhesis.actor"
"""Where the gate leaves the caller in the request's scope."""

TOTAL_HEADER = "X-Total-Count"
_AFTER_COMMIT = "rhesis_after_commit"
# Between its steps a request holds its connection without holding a thread. Fewer requests than connections may do so,
# or the token lookups and streams that have a thread would wait for connections whose holders wait for a thread.
_SESSIONS_AT_ONCE = DEFAULT_POOL_SIZE - 2


def current_actor(request: Request) -> Actor:
    """Return the caller, as the gate found him; raise `Unauthenticated` where the gate let somebody else pass."""
    actor = request.scope.get(ACTOR_KEY)
    if not isinstance(actor, Actor):
        raise Unauthenticated
    return actor


require_current_user_or_token = current_actor
"""The documented name of `current_actor`."""

CurrentActor = Annotated[Actor, Depends(current_actor)]


def require_superuser(actor: CurrentActor) -> Actor:
    """Return the caller; raise `Forbidden` unless he is a superuser."""
    if not actor.is_superuser:
        raise Forbidden("Only a superuser may do this.")
    return actor


Superuser = Annotated[Actor, Depends(require_superuser)]


def session(actor: CurrentActor) -> Iterator[Session]:
    """Yield a session of the caller's organization; commit when the route returns, before anything is answered.

    A failing commit is therefore an error for the caller. What `after_commit` was given runs next, still before the
    answer. An exception rolls back.
    """
    with tenant_session(actor.organization_id, actor.id) as db:
        yield db
    for act in db.info.pop(_AFTER_COMMIT, ()):
        act()


def after_commit(db: Session, act: Callable[[], object]) -> None:
    """Do something once the request's session has committed, before the answer: sending a message, usually.

    It does not run when the request fails. What it raises becomes the answer; the commit stands.
    """
    db.info.setdefault(_AFTER_COMMIT, []).append(act)


DatabaseSession = Annotated[Session, Depends(session, scope="function", max_concurrency=_SESSIONS_AT_ONCE)]


def list_parameters(query: Annotated[ListQuery, Query()]) -> ListParameters:
    """Return which part of a list the caller wants."""
    if query.filter is not None and query.odata_filter is not None:
        raise InvalidInput(
            "filter and $filter are two names of one parameter: send one of them",
            problems=(InputProblem("query.filter", "given twice"),),
        )
    return ListParameters(
        skip=query.skip,
        limit=query.limit,
        sort_by=query.sort_by,
        sort_order=query.sort_order,
        filter=query.filter if query.filter is not None else query.odata_filter,
    )


ListQueryParameters = Annotated[ListParameters, Depends(list_parameters)]


def set_total(response: Response, listed: Page[Any]) -> None:
    """Tell the caller how many rows the whole list has."""
    response.headers[TOTAL_HEADER] = str(listed.total)
