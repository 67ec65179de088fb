"""Whether what was started can be used by now."""

import httpx2

from rhesis.backend.app.repositories import heartbeats
from rhesis.backend.app.services.reaping import queue_transaction
from rhesis.backend.cli.supervise import Family

START_SECONDS = 60.0
_OK = 200


def wait_for_api(family: Family, address: str) -> None:
    """Wait until the API says that it is well."""
    family.wait_until(lambda: _is_well(address), seconds=START_SECONDS, what=f"the API at {address}")


def wait_for_workers(family: Family, count: int) -> None:
    """Wait until so many workers have given a sign of life."""
    family.wait_until(lambda: len(_live_workers()) >= count, seconds=START_SECONDS, what="a worker")


def _is_well(address: str) -> bool:
    try:
        return httpx2.get(f"{address}/health", timeout=5.0, trust_env=False).status_code == _OK
    except httpx2.TransportError:
        return False


def _live_workers() -> tuple[str, ...]:
    with queue_transaction() as connection:
        return heartbeats.alive(connection)
