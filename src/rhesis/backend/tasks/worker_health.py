"""A worker's health server: three addresses for probes, in a thread of the worker's main process.

`/ping` and `/health/basic` say that the process lives, and need nothing. `/health` says in one word each whether
database, queue and the worker's own sign of life are well, and if not, which kind of trouble it is. It names no host,
no user and no count: everybody who reaches the port may ask.
"""

import json
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from celery import bootsteps
from celery.utils.log import get_logger

from rhesis.backend import provision
from rhesis.backend.app.repositories import heartbeats
from rhesis.backend.app.services.health import CheckStatus, Health, HealthChecker
from rhesis.backend.app.services.reaping import queue_transaction
from rhesis.backend.errors import RhesisError
from rhesis.backend.settings import get_settings
from rhesis.backend.worker import app

logger = get_logger(__name__)

REQUEST_SECONDS = 5.0
_STOP_SECONDS = 5.0
_WORDS = {"/ping": "pong", "/health/basic": "ok"}


class NoHeartbeat(RhesisError):
    """The worker has given no sign of life of late."""

    code = "no_heartbeat"


class WorkerHealthChecker(HealthChecker):
    """The checks of the API, and whether this worker's heartbeat reaches the database."""

    def __init__(self, worker_name: str) -> None:
        super().__init__(provision.head_revision)
        self._checks = {**self._checks, "worker": lambda: _require_beat(worker_name)}


class HealthServer:
    """Serves the health of one worker on an address of its own. `port` is the real one, also where 0 was asked for."""

    def __init__(self, worker_name: str, *, host: str, port: int) -> None:
        """Begin to listen; raises `OSError` when the port is taken."""
        self._checker = WorkerHealthChecker(worker_name)
        self._server = _Server((host, port), _handler_for(self._checker))
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, name="rhesis-health", daemon=True)

    def start(self) -> None:
        """Answer from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Stop answering and free the port."""
        self._server.shutdown()
        self._server.server_close()
        self._checker.close()
        self._thread.join(_STOP_SECONDS)


class HealthStep(bootsteps.StartStopStep):
    """Serve the worker's health while it runs, if `HEALTH_PORT` is set."""

    # After the pool has forked: the fewer forks happen beside a thread, the better.
    requires = ("celery.worker.components:Pool",)

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        self._server: HealthServer | None = None

    def include_if(self, parent: Any) -> bool:  # noqa: ARG002 - Celery's signature
        """Take part only where a port is set: two workers on one host would fight for a usual one."""
        return get_settings().health_port is not None

    def start(self, parent: Any) -> None:
        """Start the server. A taken port is logged, and the worker works on."""
        settings = get_settings()
        port = settings.health_port or 0
        try:
            self._server = HealthServer(parent.hostname, host=settings.health_host, port=port)
        except OSError as error:
            logger.error("no health server on %s port %s: %s", settings.health_host, port, error.strerror)  # noqa: TRY400
            return
        self._server.start()
        logger.info("health server on %s port %s", settings.health_host, self._server.port)

    def stop(self, parent: Any) -> None:  # noqa: ARG002 - Celery's signature
        """Stop the server."""
        if self._server is not None:
            self._server.stop()
            self._server = None

    def terminate(self, parent: Any) -> None:
        """Stop as well when the worker is told to end at once."""
        self.stop(parent)


class _Server(ThreadingHTTPServer):
    daemon_threads = True


def _handler_for(checker: HealthChecker) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = REQUEST_SECONDS

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path in _WORDS:
                self._answer(HTTPStatus.OK, "text/plain", _WORDS[path])
            elif path == "/health":
                health = checker.check()
                good = health.status is CheckStatus.OK
                status = HTTPStatus.OK if good else HTTPStatus.SERVICE_UNAVAILABLE
                self._answer(status, "application/json", _as_json(health))
            else:
                self._answer(HTTPStatus.NOT_FOUND, "text/plain", "not found")

        def do_HEAD(self) -> None:
            self.do_GET()

        def _answer(self, status: HTTPStatus, media_type: str, text: str) -> None:
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", f"{media_type}; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def version_string(self) -> str:
            return "rhesis"

        def log_message(self, *_: object) -> None:
            """Stay silent: probes ask every few seconds."""

    return Handler


def _as_json(health: Health) -> str:
    checks = {
        name: {"status": check.status, **({"class": check.failure} if check.failure else {})}
        for name, check in health.checks.items()
    }
    return json.dumps({"status": health.status, "checks": checks})


def _require_beat(worker_name: str) -> None:
    with queue_transaction() as connection:
        if worker_name not in heartbeats.alive(connection):
            raise NoHeartbeat


app.steps["worker"].add(HealthStep)
