"""Where the service's PostgreSQL is, and as whom each part of the service logs in.

Without `DATABASE_URL` it is the embedded server of the project's `.rhesis/`; otherwise the named server. Everything
that connects asks here, so that no part can silently end up on another server (Celery's own default is a RabbitMQ on
this machine).
"""

import threading
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import psycopg
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from rhesis.backend.embedded import EmbeddedServer, find_home
from rhesis.backend.errors import ConfigurationError, DatabaseUnavailable, EmbeddedServerError
from rhesis.backend.settings import get_settings

Role = Literal["rhesis_owner", "rhesis_app", "rhesis_queue"]
CONNECT_TIMEOUT_SECONDS = 5
# A server that vanishes without a word is noticed within about a minute; otherwise a thread would wait for hours.
_KEEPALIVES = {
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "60000",
}

_start_lock = threading.Lock()


@dataclass(frozen=True)
class Login:
    """A URL to log in with and the role to take after that (None: the login itself is the role)."""

    url: URL
    role: Role | None

    def parameters(self, *, search_path: str | None = None) -> dict[str, str]:
        """Return libpq connection parameters."""
        query = {key: value if isinstance(value, str) else value[0] for key, value in self.url.query.items()}
        given = {
            "host": self.url.host,
            "port": str(self.url.port) if self.url.port else None,
            "user": self.url.username,
            "password": self.url.password,
            "dbname": self.url.database,
            "connect_timeout": str(CONNECT_TIMEOUT_SECONDS),
            **_KEEPALIVES,
        }
        merged = {**{key: str(value) for key, value in given.items() if value}, **query}
        options = [merged.pop("options", "")]
        options += [f"-c search_path={search_path}"] if search_path else []
        options += [f"-c role={self.role}"] if self.role else []
        if text := " ".join(option for option in options if option):
            merged["options"] = text
        return merged

    def sqlalchemy_url(self, *, search_path: str | None = None) -> URL:
        """Return the same as a SQLAlchemy URL for psycopg 3."""
        parameters = self.parameters(search_path=search_path)
        known = {"host", "port", "user", "password", "dbname"}
        host = parameters.get("host")
        query = {key: value for key, value in parameters.items() if key not in known}
        if host and host.startswith("/"):
            query["host"] = host
            query.update({"port": parameters["port"]} if "port" in parameters else {})
            host = None
        return URL.create(
            "postgresql+psycopg",
            username=parameters.get("user"),
            password=parameters.get("password"),
            host=host,
            port=int(parameters["port"]) if host and "port" in parameters else None,
            database=parameters.get("dbname"),
            query=query,
        )


def parse_url(text: str, variable: str) -> URL:
    """Return a PostgreSQL URL; raise `ConfigurationError` that names the variable and never shows the value."""
    try:
        url = make_url(text.replace("postgres://", "postgresql://", 1))
    except ArgumentError:
        raise ConfigurationError(
            f"{variable} is not a URL; expected postgresql://user:password@host/database"
        ) from None
    if not url.drivername.startswith("postgresql"):
        raise ConfigurationError(f"{variable} names {url.drivername}; expected a postgresql:// URL")
    return url


@cache
def embedded_server() -> EmbeddedServer:
    """Return the project's embedded server, running or not."""
    return EmbeddedServer(home(), runtime_directory=get_settings().runtime_directory)


@cache
def home() -> Path:
    """Return the folder of the embedded database, its keys, its log and its token."""
    explicit = get_settings().home
    return explicit.resolve() if explicit else find_home(Path.cwd(), None, Path(__file__).resolve())


def start(*, create: bool) -> None:
    """Start the embedded server and hold it until this process ends; do nothing when `DATABASE_URL` is set.

    With `create` a missing database is made; otherwise `EmbeddedServerError` says that nothing has run here.
    """
    if get_settings().is_embedded:
        with _start_lock:
            embedded_server().ensure(create=create)


def release() -> None:
    """Let go of the embedded server; the last process to do so stops it."""
    if get_settings().is_embedded:
        embedded_server().release()


def describe() -> str:
    """Return which database this is, without credentials, for people: `embedded PATH` or `HOST/NAME`."""
    if get_settings().is_embedded:
        return f"embedded {home()}"
    parameters = Login(_given_url(), None).parameters()
    return f"{parameters.get('host', 'localhost')}/{parameters.get('dbname', '')}"


def app_login() -> Login:
    """Return the login of requests and tasks: role `rhesis_app`."""
    return _login("rhesis_app")


def queue_login() -> Login:
    """Return the login of broker, result backend and reaper: role `rhesis_queue`."""
    given = get_settings().queue_url
    if given is not None:
        return Login(parse_url(given.get_secret_value(), "RHESIS_QUEUE_URL"), None)
    return _login("rhesis_queue")


def migration_login() -> Login:
    """Return the login that creates roles, schemas and tables."""
    settings = get_settings()
    if settings.owner_url is not None:
        return Login(parse_url(settings.owner_url.get_secret_value(), "RHESIS_OWNER_URL"), None)
    if settings.is_embedded:
        return Login(make_url(embedded_server().url("superuser")), None)
    return Login(_given_url(), None)


def celery_urls() -> tuple[str, str]:
    """Return Celery's broker and result backend URLs; never None, for which Celery would try a RabbitMQ here."""
    settings = get_settings()
    broker, backend = settings.broker_url, settings.result_backend
    default = "" if broker and backend else _queue_text()
    return (
        broker.get_secret_value() if broker else f"sqla+{default}",
        backend.get_secret_value() if backend else f"db+{default}",
    )


def _queue_text() -> str:
    return queue_login().sqlalchemy_url(search_path="rhesis_queue").render_as_string(hide_password=False)


def _given_url() -> URL:
    given = get_settings().database_url
    if given is None:
        raise ConfigurationError("DATABASE_URL is not set")
    return parse_url(given.get_secret_value(), "DATABASE_URL")


@cache
def _login(role: Role) -> Login:
    if get_settings().is_embedded:
        server = embedded_server()
        if not server.exists():
            raise EmbeddedServerError(f"no database at {home()}: nothing has run here")
        short: Literal["app", "queue"] = "app" if role == "rhesis_app" else "queue"
        return Login(make_url(server.url(short)), None)
    url = _given_url()
    return Login(url, _role_to_take(url, role))


def _role_to_take(url: URL, role: Role) -> Role | None:
    with connect(Login(url, None)) as connection:
        row = connection.execute(
            "SELECT session_user = %(role)s, EXISTS (SELECT FROM pg_roles WHERE rolname = %(role)s)", {"role": role}
        ).fetchone()
        is_role, role_exists = row or (False, False)
        if is_role:
            return None
        if not role_exists:
            raise DatabaseUnavailable(f"role {role} does not exist on {describe()}: run rhesis migrate", kind="role")
        member = connection.execute("SELECT pg_has_role(session_user, %s, 'MEMBER')", (role,)).fetchone()
    if member and member[0]:
        return role
    hint = " or set RHESIS_QUEUE_URL" if role == "rhesis_queue" else ""
    raise DatabaseUnavailable(
        f"the login of DATABASE_URL may not become {role}: GRANT {role} TO that login{hint}", kind="role"
    )


def connect(login: Login, *, search_path: str | None = None, autocommit: bool = True) -> psycopg.Connection:
    """Open one plain connection; raise `DatabaseUnavailable` with one line that tells the four causes apart."""
    try:
        return psycopg.connect(autocommit=autocommit, **login.parameters(search_path=search_path))  # type: ignore[arg-type]
    except psycopg.OperationalError as error:
        raise unavailable(error) from error
    except psycopg.ProgrammingError as error:
        raise ConfigurationError(f"the URL of {describe()} cannot be used: {str(error).strip()}") from error


def unavailable(error: BaseException) -> DatabaseUnavailable:
    """Turn a driver's connection error into one line, without the login's password and with what to check."""
    text = str(error)
    where = describe()
    if "password" in text or "no pg_hba.conf entry" in text or "Peer authentication" in text:
        return DatabaseUnavailable(f"{where} refused the login: check user and password in the URL", kind="credentials")
    if "role" in text and (
        "does not exist" in text or "permission denied to set role" in text or "not permitted" in text
    ):
        return DatabaseUnavailable(
            f"{where} has no such role: check the URL's user, or run rhesis migrate", kind="role"
        )
    if "database" in text and "does not exist" in text:
        return DatabaseUnavailable(f"the server of {where} has no such database: create it", kind="schema")
    return DatabaseUnavailable(f"{where} cannot be reached: check host, port and firewall", kind="unreachable")
