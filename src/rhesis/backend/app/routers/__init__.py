"""The routes, a module for each kind of object. A router that is not in `ROUTERS` is not served."""

from fastapi import APIRouter

from rhesis.backend.app.routers import (
    endpoints,
    health,
    organizations,
    tasks,
    test_configurations,
    test_runs,
    test_sets,
    tests,
    tokens,
    users,
)

ROUTERS: tuple[APIRouter, ...] = (
    health.router,
    organizations.router,
    users.router,
    tokens.router,
    tasks.router,
    endpoints.router,
    tests.router,
    test_sets.router,
    test_configurations.router,
    test_runs.router,
    test_runs.results_router,
)
