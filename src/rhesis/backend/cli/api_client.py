"""Speak HTTP to the API, with a token, and turn what it refuses into one line."""

import ipaddress
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import httpx2

from rhesis.backend import runtime
from rhesis.backend.cli.failures import ApiUnreachable, CommandFailed
from rhesis.backend.errors import InputProblem, InvalidInput
from rhesis.backend.settings import Settings, get_settings

TOKEN_FILE = "token"  # noqa: S105 - a file's name
ADDRESS_FILE = "api_url"
PAGE_ROWS = 1000
REQUEST_SECONDS = 30.0
# An import may be large, and is checked as a whole before it is answered.
IMPORT_SECONDS = 600.0
_PROBLEM = "application/problem+json"
_UNAUTHORIZED = 401
_SHOWN_PROBLEMS = 10
_BUSY = frozenset({429, 502, 503, 504})


class ApiBusy(CommandFailed):
    """The API answers that it cannot serve now."""

    code = "api_busy"


class ApiClient:
    """One API and one caller. Every method raises `CommandFailed`, or `ApiUnreachable` when nothing answers."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url.rstrip("/")
        self._client = httpx2.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {token}"},
            timeout=REQUEST_SECONDS,
            # A proxy of the surroundings cannot reach this machine's own API.
            trust_env=not _is_loopback(self.url),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def get(self, path: str, **query: Any) -> Any:
        """Return what a GET answers."""
        return self._send("GET", path, params=query)

    def post(self, path: str, body: Any = None, **query: Any) -> Any:
        """Return what a POST with a JSON body answers."""
        return self._send("POST", path, json=body, params=query)

    def upload(self, path: str, file: Path, media_type: str, **query: Any) -> Any:
        """Return what a POST of a file answers; the file is sent while it is read."""
        with file.open("rb") as content:
            headers = {"Content-Type": media_type}
            return self._send("POST", path, content=content, headers=headers, params=query, timeout=IMPORT_SECONDS)

    def items(self, path: str, **query: Any) -> Iterator[Any]:
        """Yield a whole list, a page at a time, the oldest first."""
        skip = 0
        while True:
            page = self.get(path, skip=skip, limit=PAGE_ROWS, sort_by="created_at", sort_order="asc", **query)
            yield from page
            if len(page) < PAGE_ROWS:
                return
            skip += PAGE_ROWS

    def stream(self, path: str, **query: Any) -> Iterator[bytes]:
        """Yield a download as it arrives."""
        try:
            with self._client.stream("GET", path, params=query) as response:
                if response.is_error:
                    response.read()
                    raise self._refusal(response)
                yield from response.iter_bytes()
        except httpx2.TransportError as error:
            raise self._unreachable(error) from error

    def _send(self, method: str, path: str, **options: Any) -> Any:
        try:
            response = self._client.request(method, path, **options)
        except httpx2.TransportError as error:
            raise self._unreachable(error) from error
        if not response.is_success:
            raise self._refusal(response)
        try:
            return response.json() if response.content else None
        except ValueError as error:
            raise self._stranger(response) from error

    def _unreachable(self, error: Exception) -> ApiUnreachable:
        return ApiUnreachable(
            f"{self.url} does not answer ({type(error).__name__}): start it with rhesis up, or set RHESIS_API_URL"
        )

    def _refusal(self, response: httpx2.Response) -> Exception:
        if not response.headers.get("content-type", "").startswith(_PROBLEM):
            return self._stranger(response)
        problem = response.json()
        detail = str(problem.get("detail", response.reason_phrase))
        if response.status_code == _UNAUTHORIZED:
            return CommandFailed(f"{self.url} refused the token: is it of this installation, and not expired?")
        if response.status_code in _BUSY:
            return ApiBusy(f"{self.url} cannot serve now: {detail}")
        problems = [InputProblem(str(one["where"]), str(one["message"])) for one in problem.get("errors") or ()]
        if not problems:
            return CommandFailed(detail)
        return InvalidInput(_with_problems(detail, problems), problems=tuple(problems))

    def _stranger(self, response: httpx2.Response) -> CommandFailed:
        return CommandFailed(
            f"what answers at {self.url} is not this API (status {response.status_code}): set RHESIS_API_URL"
        )


def connect() -> ApiClient:
    """Return a client of the API that the settings name, with the token they name."""
    settings = get_settings()
    return ApiClient(_address(settings), _token(settings))


def _address(settings: Settings) -> str:
    """Return the set address, or where `rhesis up` of this installation listens; else the usual one."""
    if "api_url" not in settings.model_fields_set and settings.is_embedded:
        file = runtime.home() / ADDRESS_FILE
        if file.is_file():
            return file.read_text(encoding="utf-8").strip()
    return settings.api_url


def _token(settings: Settings) -> str:
    if settings.token is not None:
        return settings.token.get_secret_value()
    file = runtime.home() / TOKEN_FILE
    if not settings.is_embedded or not file.is_file():
        raise CommandFailed("no token: set RHESIS_TOKEN to one that rhesis token create made")
    if file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise CommandFailed(f"others may read the token in {file}: run chmod 600 {file}")
    return file.read_text(encoding="ascii").strip()


def _is_loopback(url: str) -> bool:
    host = httpx2.URL(url).host
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _with_problems(detail: str, problems: list[InputProblem]) -> str:
    shown = "; ".join(f"{problem.where}: {problem.message}" for problem in problems[:_SHOWN_PROBLEMS])
    left_out = len(problems) - _SHOWN_PROBLEMS
    return f"{detail.rstrip('.')}: {shown}" + (f"; and {left_out} more" if left_out > 0 else "")
