"""The passwords of the four logins, made once and kept in one file that only its owner may read."""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Literal, Self, get_args
from urllib.parse import quote

from rhesis.backend.embedded.files import write_private
from rhesis.backend.errors import EmbeddedServerError

Role = Literal["superuser", "owner", "app", "queue"]

LOGINS: Mapping[Role, str] = MappingProxyType(
    {"superuser": "postgres", "owner": "rhesis_owner", "app": "rhesis_app", "queue": "rhesis_queue"}
)

_PASSWORD_BYTES = 24


@dataclass(frozen=True)
class Credentials:
    """One password for each role; never shown by `repr`."""

    passwords: Mapping[Role, str] = field(repr=False)

    @classmethod
    def generate(cls) -> Self:
        """Make new random passwords."""
        return cls({role: secrets.token_urlsafe(_PASSWORD_BYTES) for role in get_args(Role)})

    @classmethod
    def load(cls, path: Path, *, data: Path) -> Self:
        """Read the file, or say what to do without it: the database in `data` opens to nothing else."""
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
            return cls({role: str(stored[login]) for role, login in LOGINS.items()})
        except FileNotFoundError as error:
            reason = "is missing"
            cause: Exception = error
        except (ValueError, KeyError, TypeError) as error:
            reason = "cannot be read"
            cause = error
        raise EmbeddedServerError(
            f"{path} {reason}, and without its passwords the database in {data} cannot be opened: "
            f"put the file back from a copy, or remove {data} to begin with an empty database"
        ) from cause

    def save(self, path: Path) -> None:
        """Write the file with mode 0600, all or nothing."""
        write_private(path, json.dumps({LOGINS[role]: word for role, word in self.passwords.items()}, indent=2) + "\n")


def libpq_url(login: str, password: str, *, database: str, socket_directory: Path, port: int) -> str:
    """Compose a libpq URL that reaches the server through its socket."""
    host = quote(str(socket_directory), safe="/")
    user, word, name = (quote(part, safe="") for part in (login, password, database))
    return f"postgresql://{user}:{word}@/{name}?host={host}&port={port}"
