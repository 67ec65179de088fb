"""Servers that tests may use where one answers. CI sets REQUIRE_SERVERS, so that a missing one fails there."""

import os
import socket
from urllib.parse import urlsplit

import pytest

REDIS_URL = os.environ.get("TEST_REDIS_URL", "redis://127.0.0.1:6379/13")
AMQP_URL = os.environ.get("TEST_AMQP_URL", "amqp://guest:guest@127.0.0.1:5672//")


def require(url: str, name: str) -> str:
    """Return `url` if its server answers; otherwise skip, or fail where REQUIRE_SERVERS is set."""
    parts = urlsplit(url)
    try:
        with socket.create_connection((parts.hostname or "127.0.0.1", parts.port or 0), timeout=2):
            return url
    except OSError:
        absent(f"no {name} answers at {parts.hostname}:{parts.port}")


def absent(reason: str) -> None:
    """Skip the test for a server that is not to be had, or fail it where REQUIRE_SERVERS is set."""
    if os.environ.get("REQUIRE_SERVERS"):
        pytest.fail(reason)
    pytest.skip(reason)
