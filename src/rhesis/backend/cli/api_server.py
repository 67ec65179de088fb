"""Serve the HTTP API in this process."""

import signal
import socket
from types import FrameType

import click
import uvicorn

from rhesis.backend.cli.failures import CommandFailed
from rhesis.backend.cli.terminal import say
from rhesis.backend.logging import configure_logging
from rhesis.backend.settings import get_settings

APPLICATION = "rhesis.backend.app.main:create_app"
LOCAL_HOST = "127.0.0.1"
USUAL_PORT = 8000
_PORTS_TRIED = 20
_GRACE_SECONDS = 5
_BACKLOG = 2048


class _Server(uvicorn.Server):
    """Prints the address on stdout once requests are answered: with port 0 nobody could know it before."""

    def __init__(self, config: uvicorn.Config, address: str) -> None:
        super().__init__(config)
        self._address = address

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen."""
        await super().startup(sockets)
        say(f"listening on {self._address}")
        click.echo(self._address)


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; raise `CommandFailed` when the port is taken or the address is not this machine's."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise CommandFailed(
            f"cannot listen on {host} port {port} ({error.strerror}): choose another with --port, or 0 for any free one"
        ) from error


def listen_nearby() -> socket.socket:
    """Return a socket that listens on the usual port of this machine, or the next free one."""
    for port in range(USUAL_PORT, USUAL_PORT + _PORTS_TRIED):
        try:
            return listen(LOCAL_HOST, port)
        except CommandFailed:
            continue
    return listen(LOCAL_HOST, 0)


def address_of(listener: socket.socket) -> str:
    """Return the URL of a listening socket."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serve(listener: socket.socket) -> None:
    """Serve until SIGTERM or SIGINT, and end requests that take longer than a few seconds then."""
    configure_logging(get_settings().log_level)
    config = uvicorn.Config(
        APPLICATION,
        factory=True,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _ignore)
    _Server(config, address_of(listener)).run(sockets=[listener])


def _ignore(_: int, __: FrameType | None) -> None:
    """Let the server stop by itself: it raises the signal once more when it has finished, which must not kill it."""
