"""Files and folders that only their owner may open."""

import os
import stat
import tempfile
from pathlib import Path

from rhesis.backend.embedded.account import ROOT, Account
from rhesis.backend.errors import EmbeddedServerError


def open_private(path: Path, flags: int) -> int:
    """Open or create a file with mode 0600, follow no symlink, and return its descriptor.

    What root creates in a folder of somebody else becomes that person's: otherwise one look by root would lock the
    owner out.
    """
    descriptor = os.open(path, flags | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        if os.geteuid() == ROOT:
            owner = path.parent.stat()
            os.fchown(descriptor, owner.st_uid, owner.st_gid)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def write_private(path: Path, text: str) -> None:
    """Write a file of mode 0600 so that a reader sees all of the old text or all of the new."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.new")
    draft.unlink(missing_ok=True)
    try:
        with os.fdopen(open_private(draft, os.O_WRONLY | os.O_EXCL), "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def make_directory(path: Path, mode: int) -> None:
    """Make a folder with exactly this mode, or leave the one that is there as it is."""
    try:
        path.mkdir(mode=mode)
    except FileExistsError:
        return
    # The caller's umask may have taken bits away that the server's account needs.
    path.chmod(mode)


def make_staging(beside: Path, account: Account) -> Path:
    """Make an empty folder of the account's own, with a name nobody else uses, next to a path."""
    staging = Path(tempfile.mkdtemp(prefix=f"{beside.name}.new-", dir=beside.parent))
    if account.switched:
        os.chown(staging, account.uid, account.gid)
    return staging


def make_private_directory(path: Path, account: Account) -> None:
    """Make a folder of mode 0700 for the account, or accept the one there if it is exactly that.

    The parent may be open to every user of the machine, so an existing folder is looked at without following a
    symlink, and one of another owner is refused and not repaired.
    """
    if _is_abandoned(path, account):
        path.rmdir()
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        _require_private(path, account)
        return
    if account.switched:
        os.chown(path, account.uid, account.gid, follow_symlinks=False)


def is_private_directory(path: Path, account: Account) -> bool:
    """Tell whether the path is a real folder of the account that nobody else may enter."""
    try:
        status = path.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == account.uid and not status.st_mode & 0o077


def _is_abandoned(path: Path, account: Account) -> bool:
    """Recognise an empty folder that root made and had no time to hand over."""
    if not account.switched:
        return False
    try:
        status = path.lstat()
        return stat.S_ISDIR(status.st_mode) and status.st_uid == ROOT and not any(path.iterdir())
    except OSError:
        return False


def _require_private(path: Path, account: Account) -> None:
    if not is_private_directory(path, account):
        raise EmbeddedServerError(
            f"{path} is not a folder that only {account.name} may enter, so the server's socket cannot lie there: "
            "somebody else may have made it; remove it and start again"
        )
