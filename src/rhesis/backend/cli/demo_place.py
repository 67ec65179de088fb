"""Where the demo works: a home, or a database, of its own that is empty each time."""

import shutil
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import psycopg
from pydantic import SecretStr
from sqlalchemy.engine import make_url

from rhesis.backend import provision, runtime
from rhesis.backend.app.services.secrets import KEY_FILE
from rhesis.backend.cli.api_client import ADDRESS_FILE, TOKEN_FILE
from rhesis.backend.cli.environment import LOCAL_NETWORK, choose
from rhesis.backend.cli.failures import CommandFailed
from rhesis.backend.cli.terminal import from_here, own_command
from rhesis.backend.cli.worker_commands import LOG_FILE
from rhesis.backend.embedded.files import make_directory
from rhesis.backend.embedded.locks import is_unlocked
from rhesis.backend.security import generate_key
from rhesis.backend.settings import get_settings

HOME = "demo"
DATABASE = "rhesis_demo"
_LOGS = "logs"
_LEFT_FROM_BEFORE = (TOKEN_FILE, ADDRESS_FILE, KEY_FILE, LOG_FILE)


@dataclass(frozen=True)
class Place:
    """An empty, migrated database that this process and its children are set to use."""

    home: Path
    embedded: bool

    @property
    def logs(self) -> Path:
        """Where the programs' output goes."""
        return self.home / _LOGS

    @property
    def selection(self) -> str:
        """What chooses this place on a command line."""
        if self.embedded:
            return f"{own_command()} --home {from_here(self.home)}"
        return f"DATABASE_URL=.../{DATABASE} RHESIS_TOKEN=$(cat {from_here(self.home / TOKEN_FILE)}) {own_command()}"


def make_place() -> Place:
    """Choose the demo's own home or database, empty it, and bring it up to date."""
    place = Place(runtime.home() / HOME, embedded=get_settings().is_embedded)
    choose(
        RHESIS_HOME=str(place.home),
        RHESIS_ALLOWED_NETWORKS=LOCAL_NETWORK,
        CELERY_WORKER_LOGFILE=str(place.home / LOG_FILE),
    )
    if get_settings().health_port is not None:
        choose(HEALTH_PORT="0")
    if place.embedded:
        _erase_home(place)
        runtime.start(create=True)
    else:
        place.home.parent.mkdir(parents=True, exist_ok=True)
        make_directory(place.home, 0o700)
        _remove_files(place)
        _recreate_database()
    provision.migrate()
    _use_own_broker()
    return place


def _erase_home(place: Place) -> None:
    if not is_unlocked(place.home / "clients.lock"):
        raise CommandFailed(f"{place.home} is in use: end the demo, or what was started with --home, that runs there")
    runtime.embedded_server().erase()
    _remove_files(place)


def _remove_files(place: Place) -> None:
    for name in _LEFT_FROM_BEFORE:
        (place.home / name).unlink(missing_ok=True)
    shutil.rmtree(place.logs, ignore_errors=True)


def _recreate_database() -> None:
    try:
        with runtime.connect(runtime.migration_login()) as connection:
            for name in ("drop_demo_database", "create_demo_database"):
                connection.execute((files("rhesis.backend.cli") / "sql" / f"{name}.sql").read_bytes())
    except psycopg.errors.InsufficientPrivilege as error:
        raise CommandFailed(
            f"the login may not create the demo's database {DATABASE} beside the named one: let RHESIS_OWNER_URL name "
            "one that may, or unset DATABASE_URL to use the embedded server"
        ) from error
    except psycopg.errors.ObjectInUse as error:
        raise CommandFailed(f"database {DATABASE} is in use: end the demo that runs there") from error
    settings = get_settings()
    given = {
        "DATABASE_URL": settings.database_url,
        "RHESIS_OWNER_URL": settings.owner_url,
        "RHESIS_QUEUE_URL": settings.queue_url,
    }
    choose(**{name: _moved(url) for name, url in given.items() if url is not None})
    if not settings.secret_keys:
        choose(RHESIS_SECRET_KEYS=generate_key())


def _moved(url: SecretStr) -> str:
    return make_url(url.get_secret_value()).set(database=DATABASE).render_as_string(hide_password=False)


def _use_own_broker() -> None:
    """Keep the demo's messages out of a broker that others use."""
    settings = get_settings()
    if settings.broker_url is None and settings.result_backend is None:
        return
    own = runtime.queue_login().sqlalchemy_url(search_path="rhesis_queue").render_as_string(hide_password=False)
    choose(BROKER_URL=f"sqla+{own}", CELERY_RESULT_BACKEND=f"db+{own}")
