"""All paths of one home, worked out from what is there; looking changes nothing.

`postgres.json` in the home remembers the two places that cannot be worked out twice alike: the socket's folder (a cron
job has no runtime folder, the shell of the same user has one) and the place outside a checkout.
"""

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from rhesis.backend.embedded.account import Account, can_enter, server_account
from rhesis.backend.embedded.files import is_private_directory, make_directory, write_private
from rhesis.backend.embedded.places import (
    is_outside_folder,
    is_own_socket_folder,
    is_usable_socket_folder,
    outside_folders,
    socket_folders,
)
from rhesis.backend.errors import EmbeddedServerError

RECORD_NAME = "postgres.json"
DATA_NAME = "postgres"


@dataclass(frozen=True)
class Record:
    """What `postgres.json` holds; `home` tells a record that was copied along with its folder."""

    home: Path
    socket_directory: Path
    outside: Path | None


@dataclass(frozen=True)
class Layout:
    """Where everything of one home lies, and whose it is."""

    home: Path
    account: Account
    data: Path
    outside: Path
    socket_directory: Path

    @property
    def credentials(self) -> Path:
        """The passwords."""
        return self.home / "credentials.json"

    @property
    def log(self) -> Path:
        """What the server writes."""
        return self.home / "postgres.log"

    @property
    def record(self) -> Path:
        """The pointer to what lies outside the home."""
        return self.home / RECORD_NAME

    @property
    def client_lock(self) -> Path:
        """Held shared by every process that uses the server."""
        return self.home / "clients.lock"

    @property
    def server_lock(self) -> Path:
        """Held alone by who starts or stops the server."""
        return self.home / "server.lock"

    @property
    def running_lock(self) -> Path:
        """Held by the server's own processes."""
        return self.home / "running.lock"

    def has_data(self) -> bool:
        """Tell whether a database was created: its folder appears whole or not at all."""
        try:
            return any(self.data.iterdir())
        except PermissionError:
            return True
        except OSError:
            return False

    def make_outside(self) -> Path:
        """Make the place outside the home; root's own, so that only what is inside belongs to the server."""
        for folder in (self.outside.parent, self.outside):
            make_directory(folder, 0o711)
        if not is_outside_folder(self.outside):
            raise EmbeddedServerError(
                f"{self.outside} is not a folder that only root may write to: remove it and start again"
            )
        return self.outside

    def remember(self) -> None:
        """Write the record."""
        outside = str(self.outside) if self.outside.exists() else None
        fields = {"home": str(self.home), "socket": str(self.socket_directory), "outside": outside}
        write_private(self.record, json.dumps(fields, indent=2) + "\n")


def resolve_layout(home: Path, *, runtime_directory: Path | None) -> Layout:
    """Work out the layout of a home, of a database that is there or of one that would be made now."""
    record = _read_record(home)
    outside = _outside(home, record)
    existing = next((data for data in (home / DATA_NAME, outside / DATA_NAME) if data.exists()), None)
    account = server_account(*(folder for folder in (existing, home) if folder is not None and folder.exists()))
    data = existing or (home if can_enter(account, home) else outside) / DATA_NAME
    candidates = socket_folders(home, uid=os.geteuid(), runtime_directory=runtime_directory)
    if record is not None and is_own_socket_folder(record.socket_directory, home):
        candidates = (record.socket_directory, *candidates)
    socket_directory = outside / "socket" if data.parent == outside else _usable(candidates, account)
    return Layout(home=home, account=account, data=data, outside=outside, socket_directory=socket_directory)


def _usable(candidates: tuple[Path, ...], account: Account) -> Path:
    for folder in candidates:
        if is_usable_socket_folder(folder, account):
            return folder
    raise EmbeddedServerError(
        "there is no folder for the server's socket, because /tmp is missing: "
        "set XDG_RUNTIME_DIR to a folder that only you may enter"
    )


def remove_all(layout: Layout) -> None:
    """Remove data, passwords, log and pointers, and nothing that is not this home's own."""
    for folder in (layout.data, layout.socket_directory):
        if is_private_directory(folder, layout.account):
            shutil.rmtree(folder)
    if is_outside_folder(layout.outside):
        shutil.rmtree(layout.outside)
    for file in (layout.credentials, layout.log, layout.record):
        file.unlink(missing_ok=True)


def _read_record(home: Path) -> Record | None:
    try:
        stored = json.loads((home / RECORD_NAME).read_text(encoding="utf-8"))
        outside = stored["outside"]
        return Record(Path(stored["home"]), Path(stored["socket"]), Path(outside) if outside else None)
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def _outside(home: Path, record: Record | None) -> Path:
    candidates = outside_folders(home)
    if record is not None and record.outside is not None and is_outside_folder(record.outside):
        if record.home != home:
            _require_moved(home, record, record.outside)
        return record.outside
    made = (folder for folder in candidates if is_outside_folder(folder))
    return next(made, None) or next((folder for folder in candidates if _can_be_made(folder)), candidates[-1])


def _require_moved(home: Path, record: Record, outside: Path) -> None:
    """Accept another home's record when the folder was moved, not when it was copied: one database, one project."""
    other = _read_record(record.home)
    if other is not None and other.outside == outside:
        raise EmbeddedServerError(
            f"{home} is a copy, and its database in {outside} belongs to {record.home}: "
            f"remove {home / RECORD_NAME} to begin with an empty database here"
        )


def _can_be_made(folder: Path) -> bool:
    existing = next(parent for parent in folder.parents if parent.exists())
    return os.access(existing, os.W_OK | os.X_OK)
