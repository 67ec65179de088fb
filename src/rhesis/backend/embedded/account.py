"""Which operating system account runs the server.

PostgreSQL refuses to run as root and needs a name for its user id. So root hands the server to another account that
exists already, and an id without a name is told so at once.
"""

import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path

from rhesis.backend.errors import EmbeddedServerError

ROOT = 0
PREFERRED_NAME = "nobody"


@dataclass(frozen=True)
class Account:
    """The account that owns the data and runs the server; `switched` when it is not the caller's own."""

    uid: int
    gid: int
    name: str
    switched: bool

    @property
    def user(self) -> int | None:
        """The user id to change to, None to stay as we are."""
        return self.uid if self.switched else None

    @property
    def group(self) -> int | None:
        """The group id to change to, None to stay as we are."""
        return self.gid if self.switched else None

    @property
    def extra_groups(self) -> list[int] | None:
        """No supplementary group of root may reach the server."""
        return [] if self.switched else None


def server_account(*owners: Path) -> Account:
    """Choose the account for the server.

    `owners` are existing folders whose owner is preferred when root asks: a database that an ordinary user made stays
    that user's when root looks at it.
    """
    if os.geteuid() != ROOT:
        return _own_account(os.geteuid())
    for folder in owners:
        uid = folder.stat().st_uid
        if uid != ROOT and (entry := _entry(uid)) is not None:
            return _switched(entry)
    entries = [entry for entry in pwd.getpwall() if entry.pw_uid != ROOT]
    if not entries:
        raise EmbeddedServerError(
            "PostgreSQL does not run as root and this machine has no other account: "
            "start as an ordinary user, or set DATABASE_URL to a server that runs already"
        )
    return _switched(next((entry for entry in entries if entry.pw_name == PREFERRED_NAME), entries[0]))


def can_enter(account: Account, folder: Path) -> bool:
    """Tell whether the account may pass through every folder down to this one, which need not exist yet.

    Read from the permission bits: an access list can only make the answer stricter than needed.
    """
    if not account.switched:
        return True
    resolved = folder.resolve()
    return all(_may_search(account, part) for part in (resolved, *resolved.parents) if part.exists())


def _may_search(account: Account, folder: Path) -> bool:
    status = folder.stat()
    if status.st_uid == account.uid:
        return bool(status.st_mode & stat.S_IXUSR)
    if status.st_gid == account.gid:
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)


def _own_account(uid: int) -> Account:
    entry = _entry(uid)
    if entry is None:
        raise EmbeddedServerError(
            f"user id {uid} has no entry in /etc/passwd, without which PostgreSQL does not start: "
            "add one, or set DATABASE_URL to a server that runs already"
        )
    return Account(uid=uid, gid=os.getegid(), name=entry.pw_name, switched=False)


def _switched(entry: pwd.struct_passwd) -> Account:
    return Account(uid=entry.pw_uid, gid=entry.pw_gid, name=entry.pw_name, switched=True)


def _entry(uid: int) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwuid(uid)
    except KeyError:
        return None
