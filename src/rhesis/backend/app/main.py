"""The HTTP application.

    uvicorn --factory rhesis.backend.app.main:create_app

Importing this module does nothing; `create_app` reads the settings, and the lifespan prepares the database.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import structlog
from anyio import to_thread
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from rhesis.backend import provision, runtime
from rhesis.backend.app.attempts import TokenAttempts
from rhesis.backend.app.database import DEFAULT_POOL_SIZE, dispose_engine, set_pool_size
from rhesis.backend.app.gate import DOCS_ROUTE, PUBLIC_ROUTES, Gate, GateRules
from rhesis.backend.app.identity import find_actor
from rhesis.backend.app.problems import install_problem_handlers
from rhesis.backend.app.routers import ROUTERS
from rhesis.backend.app.schemas.common import Problem
from rhesis.backend.app.services.health import HealthChecker
from rhesis.backend.logging import configure_logging
from rhesis.backend.settings import Settings, get_settings

API_VERSION = "1"
_DESCRIPTION = "Runs test sets against an endpoint in parallel and delivers one result, once."


def create_app() -> FastAPI:
    """Return the application, with the gate in front of it. Its database is prepared when it starts."""
    settings = get_settings()
    app = FastAPI(
        title="Rhesis",
        version=API_VERSION,
        description=_DESCRIPTION,
        lifespan=_lifespan,
        docs_url=DOCS_ROUTE[1] if settings.docs_enabled else None,
        redoc_url=None,
        swagger_ui_oauth2_redirect_url=None,
    )
    app.state.health = HealthChecker(provision.head_revision)
    install_problem_handlers(app)
    for router in ROUTERS:
        app.include_router(router)
    app.add_middleware(Gate, rules=_rules(settings), find_actor=find_actor, attempts=TokenAttempts())
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    await to_thread.run_sync(_start)
    try:
        yield
    finally:
        app.state.health.close()
        await to_thread.run_sync(_stop)


def _start() -> None:
    if not structlog.is_configured():
        configure_logging(get_settings().log_level)
    set_pool_size(DEFAULT_POOL_SIZE)
    provision.prepare(create=True)


def _stop() -> None:
    dispose_engine()
    runtime.release()


def _rules(settings: Settings) -> GateRules:
    public = PUBLIC_ROUTES if settings.docs_enabled else PUBLIC_ROUTES - {DOCS_ROUTE}
    return GateRules(settings.max_body_bytes, settings.import_max_bytes, public)


def _openapi(app: FastAPI) -> dict[str, Any]:
    """Return the description: every route needs a token, except the public ones, and every error is a problem."""
    if app.openapi_schema is None:
        described = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        components = described.setdefault("components", {})
        schemas = components.setdefault("schemas", {})
        problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas.update(problem.pop("$defs", {}))
        schemas["Problem"] = problem
        components["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer"}}
        described["security"] = [{"bearer": []}]
        for method, path in PUBLIC_ROUTES:
            if operation := described["paths"].get(path, {}).get(method.lower()):
                operation["security"] = [{}, {"bearer": []}]
        app.openapi_schema = described
    return app.openapi_schema
