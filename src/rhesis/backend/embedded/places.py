"""Where things lie: the project's home, the socket, and the place outside a checkout that root's server cannot enter.

Pure apart from looking at folders; nothing is created here.
"""

import hashlib
import os
import platform
import stat
import tomllib
from pathlib import Path

from rhesis.backend.embedded.account import ROOT, Account, can_enter
from rhesis.backend.embedded.files import is_private_directory

HOME_NAME = ".rhesis"
PORT = 5432
SOCKET_NAME = f".s.PGSQL.{PORT}"
# The kernel's limit for a socket's path, without the closing zero byte.
SOCKET_PATH_BYTES = 103 if platform.system() == "Darwin" else 107

_DISTRIBUTION = "rhesis-backend"
_TEMPORARY = Path("/tmp")  # noqa: S108 - the folder in it is private, and its owner is checked
_OUTSIDE = (Path("/var/lib/rhesis"), Path("/var/tmp"))  # noqa: S108 - as above
_FINGERPRINT_DIGITS = 12


def find_home(start: Path, explicit: Path | None, package_file: Path) -> Path:
    """Return the home folder: the given one, or `.rhesis` of the project.

    The project is the nearest folder upwards that has one, else the checkout the package is installed from, else
    where the command runs: a command run in a sub-folder must not find a second, empty database.
    """
    if explicit is not None:
        return explicit.resolve()
    for folder in (start.resolve(), *start.resolve().parents):
        if _is_own_home(folder / HOME_NAME):
            return folder / HOME_NAME
    for folder in package_file.resolve().parents:
        if _is_checkout(folder):
            return folder / HOME_NAME
    return start.resolve() / HOME_NAME


def fingerprint(home: Path) -> str:
    """Return 12 hex digits that differ for every home on a machine."""
    return hashlib.sha256(str(home).encode(errors="surrogateescape")).hexdigest()[:_FINGERPRINT_DIGITS]


def socket_folders(home: Path, *, uid: int, runtime_directory: Path | None) -> tuple[Path, ...]:
    """Return where the socket may lie, the preferred folder first; never in the checkout, whose path may be long."""
    short = _TEMPORARY / f"rhesis-{uid}-{fingerprint(home)}"
    if runtime_directory is None:
        return (short,)
    return (runtime_directory / f"rhesis-{fingerprint(home)}", short)


def is_own_socket_folder(folder: Path, home: Path) -> bool:
    """Tell whether this home gives its socket's folder such a name, whoever asked and with whatever runtime folder."""
    return folder.name.startswith("rhesis-") and folder.name.endswith(f"-{fingerprint(home)}")


def outside_folders(home: Path) -> tuple[Path, ...]:
    """Return where data may lie when the server's account cannot enter the checkout, the preferred folder first."""
    system, temporary = _OUTSIDE
    return (system / fingerprint(home), temporary / f"rhesis-{fingerprint(home)}")


def is_outside_folder(folder: Path) -> bool:
    """Tell whether the folder is one that root made for a project, so that a planted pointer leads nowhere else."""
    system, temporary = _OUTSIDE
    named = folder.parent == system or (folder.parent == temporary and folder.name.startswith("rhesis-"))
    try:
        status = folder.lstat()
    except OSError:
        return False
    return named and stat.S_ISDIR(status.st_mode) and status.st_uid == ROOT and not status.st_mode & 0o022


def holds_socket(folder: Path) -> bool:
    """Tell whether the kernel accepts a socket path in this folder, and a client would take it for one host."""
    return len(bytes(folder / SOCKET_NAME)) <= SOCKET_PATH_BYTES and "," not in str(folder)


def is_usable_socket_folder(folder: Path, account: Account) -> bool:
    """Tell whether server and clients can meet in this folder, or in one we could make there."""
    if not holds_socket(folder) or not folder.parent.is_dir() or not can_enter(account, folder.parent):
        return False
    if folder.parent == _TEMPORARY or is_private_directory(folder, account):
        return True
    try:
        parent = folder.parent.lstat()
    except OSError:
        return False
    # Anyone who may write here could exchange the folder for another under our feet.
    trusted = parent.st_uid in {ROOT, account.uid} and not parent.st_mode & 0o022
    return trusted and stat.S_ISDIR(parent.st_mode)


def _is_own_home(folder: Path) -> bool:
    """Tell whether this is a home, and not one that a stranger planted in a folder everybody may write to."""
    try:
        return folder.is_dir() and folder.stat().st_uid in {folder.parent.stat().st_uid, os.geteuid()}
    except OSError:
        return False


def _is_checkout(folder: Path) -> bool:
    try:
        project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8")).get("project", {})
    except (OSError, ValueError):
        return False
    return isinstance(project, dict) and project.get("name") == _DISTRIBUTION
