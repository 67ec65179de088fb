"""The settings of the service, and the only place that reads the environment.

Values come from the environment and, outside tests, from `.env` in the project's root; the environment wins. The
descriptions below are what `docs/reference/configuration.md` prints.
"""

import os
from functools import cache
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from rhesis.backend.errors import ConfigurationError

MAX_DEADLINE_SECONDS = 86_400
# How long after its deadline a run's Celery results stay readable for whoever looks into it.
MONITORING_HORIZON_SECONDS = 172_800

Network = IPv4Network | IPv6Network


def _env(*names: str) -> AliasChoices:
    return AliasChoices(*names)


class Settings(BaseSettings):
    """Everything an installation may set. Frozen: a process reads it once."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True)

    database_url: SecretStr | None = Field(
        None,
        validation_alias=_env("DATABASE_URL", "SQLALCHEMY_DATABASE_URL"),
        description="PostgreSQL server and database of the service. Unset: an embedded PostgreSQL in `.rhesis/`.",
    )
    owner_url: SecretStr | None = Field(
        None,
        validation_alias=_env("RHESIS_OWNER_URL"),
        description="Login that may create tables, used by `rhesis migrate` alone. Default: `DATABASE_URL`.",
    )
    queue_url: SecretStr | None = Field(
        None,
        validation_alias=_env("RHESIS_QUEUE_URL"),
        description="Login of role `rhesis_queue` for the reaper, and default of the two Celery URLs. "
        "Default: `DATABASE_URL`, if its login may become that role.",
    )
    broker_url: SecretStr | None = Field(
        None,
        validation_alias=_env("BROKER_URL", "CELERY_BROKER_URL"),
        description="Celery's broker. Default: the service's PostgreSQL server, as role `rhesis_queue`.",
    )
    result_backend: SecretStr | None = Field(
        None,
        validation_alias=_env("CELERY_RESULT_BACKEND"),
        description="Celery's result backend. Default: the service's PostgreSQL server, as role `rhesis_queue`.",
    )
    home: Path | None = Field(
        None,
        validation_alias=_env("RHESIS_HOME"),
        description="Folder of the embedded database, its keys and its log. Default: `.rhesis/` of the nearest folder "
        "upwards that has one, else of the checkout the package is installed from.",
    )
    runtime_directory: Path | None = Field(
        None,
        validation_alias=_env("XDG_RUNTIME_DIR"),
        description="Folder for the embedded server's socket. Default: a private folder in `/tmp`.",
    )
    secret_keys: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        (),
        validation_alias=_env("RHESIS_SECRET_KEYS"),
        description="Fernet keys, separated by commas, that encrypt stored credentials: the first encrypts, all "
        "decrypt. Needed when `DATABASE_URL` is set; otherwise `.rhesis/secret.key` is made.",
    )
    execution_concurrency: int = Field(
        32,
        ge=1,
        le=1000,
        validation_alias=_env("RHESIS_EXECUTION_CONCURRENCY"),
        description="Tests that one execution worker runs at a time, in threads.",
    )
    run_deadline_seconds: int = Field(
        7200,
        ge=1,
        le=MAX_DEADLINE_SECONDS,
        validation_alias=_env("RHESIS_RUN_DEADLINE_SECONDS"),
        description="Seconds after which a run that has not ended is closed. An execution may ask for another.",
    )
    test_timeout_seconds: float = Field(
        300.0,
        gt=0,
        le=3600,
        validation_alias=_env("RHESIS_TEST_TIMEOUT_SECONDS"),
        description="Seconds that one test may take in all, every attempt and wait included.",
    )
    response_max_bytes: int = Field(
        10 * 1024 * 1024,
        ge=1024,
        validation_alias=_env("RHESIS_RESPONSE_MAX_BYTES"),
        description="Bytes kept of an endpoint's answer, counted after decompression. A longer one is an Error.",
    )
    prompt_max_bytes: int = Field(
        1024 * 1024,
        ge=1,
        validation_alias=_env("RHESIS_PROMPT_MAX_BYTES"),
        description="Bytes of UTF-8 that a prompt may have.",
    )
    max_body_bytes: int = Field(
        1024 * 1024,
        ge=1024,
        validation_alias=_env("RHESIS_MAX_BODY_BYTES"),
        description="Bytes of a request body, except an import's.",
    )
    import_max_bytes: int = Field(
        256 * 1024 * 1024,
        ge=1024,
        validation_alias=_env("RHESIS_IMPORT_MAX_BYTES"),
        description="Bytes of an imported file.",
    )
    import_max_rows: int = Field(
        100_000,
        ge=1,
        validation_alias=_env("RHESIS_IMPORT_MAX_ROWS"),
        description="Tests in an imported file.",
    )
    allowed_networks: Annotated[tuple[Network, ...], NoDecode] = Field(
        (),
        validation_alias=_env("RHESIS_ALLOWED_NETWORKS"),
        description="Private networks, as CIDR separated by commas, that endpoints may lie in. Link-local and "
        "metadata addresses stay closed.",
    )
    docs_enabled: bool = Field(
        default=True,
        validation_alias=_env("RHESIS_DOCS"),
        description="Whether the API serves `/docs`.",
    )
    api_url: str = Field(
        "http://127.0.0.1:8000",
        validation_alias=_env("RHESIS_API_URL"),
        description="Where the commands `import`, `run` and `results` find the API.",
    )
    token: SecretStr | None = Field(
        None,
        validation_alias=_env("RHESIS_TOKEN"),
        description="Token of the commands that speak HTTP. Default: `.rhesis/token` in embedded mode.",
    )
    log_level: str = Field(
        "INFO", validation_alias=_env("RHESIS_LOG_LEVEL"), description="Level of the service's own log."
    )
    health_port: int | None = Field(
        None,
        ge=0,
        le=65535,
        validation_alias=_env("HEALTH_PORT"),
        description="Port of a worker's health server. Unset: none is started. 0: any free port.",
    )
    health_host: str = Field(
        "127.0.0.1", validation_alias=_env("HEALTH_HOST"), description="Address the health server listens on."
    )
    worker_concurrency: int = Field(
        8, ge=1, validation_alias=_env("CELERY_WORKER_CONCURRENCY"), description="Processes of the documented worker."
    )
    worker_prefetch_multiplier: int = Field(
        4,
        ge=0,
        validation_alias=_env("CELERY_WORKER_PREFETCH_MULTIPLIER"),
        description="Messages a worker reserves for each of its processes.",
    )
    worker_max_tasks_per_child: int = Field(
        1000,
        ge=1,
        validation_alias=_env("CELERY_WORKER_MAX_TASKS_PER_CHILD"),
        description="Tasks after which a worker process is replaced.",
    )
    worker_log_level: str = Field(
        "INFO", validation_alias=_env("CELERY_WORKER_LOGLEVEL"), description="Level of the worker's log."
    )
    worker_options: str = Field(
        "--without-heartbeat --without-gossip",
        validation_alias=_env("CELERY_WORKER_OPTS"),
        description="More options of the documented worker.",
    )
    worker_log_file: Path | None = Field(
        None,
        validation_alias=_env("CELERY_WORKER_LOGFILE"),
        description="File the worker's log is also written to. Default: `celery_worker.log`.",
    )
    enable_flower: bool = Field(
        default=False, validation_alias=_env("ENABLE_FLOWER"), description="Whether `start-worker.sh` starts Flower."
    )

    @field_validator("secret_keys", mode="before")
    @classmethod
    def _split_keys(cls, value: Any) -> Any:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("allowed_networks", mode="before")
    @classmethod
    def _split_networks(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        return tuple(ip_network(part.strip(), strict=False) for part in value.split(",") if part.strip())

    @property
    def is_embedded(self) -> bool:
        """Whether the service runs on the PostgreSQL that ships with it."""
        return self.database_url is None

    @property
    def result_expires_seconds(self) -> int:
        """How long Celery keeps results: longer than any run may live, plus the time somebody may look into it."""
        return MAX_DEADLINE_SECONDS + MONITORING_HORIZON_SECONDS

    @classmethod
    def load(cls) -> Self:
        """Read the environment; raise `ConfigurationError` with one line for each bad value, never showing it."""
        try:
            return cls(_env_file=environment_file())
        except ValidationError as error:
            problems = "; ".join(f"{_variable_of(cls, item['loc'])}: {item['msg']}" for item in error.errors())
            raise ConfigurationError(f"settings refused: {problems}") from None
        except ValueError as error:
            raise ConfigurationError(f"settings refused: {error}") from None


def _variable_of(settings: type[BaseSettings], location: tuple[int | str, ...]) -> str:
    head = str(location[0]) if location else "?"
    field = settings.model_fields.get(head)
    alias = field.validation_alias if field else None
    return str(alias.choices[0]) if isinstance(alias, AliasChoices) else head


def project_root() -> Path | None:
    """Return the checkout this package is installed from, or None when it was installed as a wheel."""
    for folder in Path(__file__).resolve().parents:
        if (folder / "pyproject.toml").is_file() and (folder / "packages" / "chordkeeper").is_dir():
            return folder
    return None


def environment_file() -> Path | None:
    """Return `.env` of the project's root, or None; never under pytest, nor in a process that pytest started.

    A developer's `.env` may name a production database, and tests create and drop databases.
    """
    root = project_root()
    if root is None or "PYTEST_VERSION" in os.environ:
        return None
    path = root / ".env"
    return path if path.is_file() else None


@cache
def get_settings() -> Settings:
    """Return this process's settings, read once."""
    return Settings.load()
