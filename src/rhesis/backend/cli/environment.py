"""Choose which installation this command works on, and with it every process that it starts."""

import os

from rhesis.backend import runtime
from rhesis.backend.settings import get_settings

LOCAL_NETWORK = "127.0.0.0/8"


def choose(**variables: str) -> None:
    """Set environment variables for this process and its children, and have the settings read anew.

    To be called before anything connects: logins and pools that exist already stay as they are.
    """
    os.environ.update(variables)
    get_settings.cache_clear()
    runtime.home.cache_clear()
    runtime.embedded_server.cache_clear()


def allow_local_endpoints() -> None:
    """Let endpoints lie on this machine, unless the installation says itself where they may lie."""
    if not get_settings().allowed_networks:
        choose(RHESIS_ALLOWED_NETWORKS=LOCAL_NETWORK)
