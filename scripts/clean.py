"""Delete what can be made again (`caches`), or, after a question, the embedded database (`data`).

Standard library only and valid syntax on Python 3.8, because `dev.py` runs it when there is no `.venv`.
"""

from __future__ import annotations

import json
import re
import shutil
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
DATA = ".rhesis"
CACHES = (
    ".venv",
    ".pytest_cache",
    ".mypy_cache",
    ".ruff_cache",
    ".import_linter_cache",
    ".hypothesis",
    "dist",
    "build",
    "packages/chordkeeper/dist",
)
FOLDERS_WITH_CODE = ("src", "packages", "tests", "scripts", "benchmarks", "examples", "docs")
# Where root's embedded server keeps its files if its account cannot enter the checkout. Of all that postgres.json may
# name, only such a folder is ever deleted: another entry can be the folder of a system-wide PostgreSQL.
FAR_FOLDER = re.compile(r"(?:/private)?/var/(?:lib|tmp)/rhesis[/-][0-9a-f]{12}(?=/|$)")


def remove_caches(root: Path) -> None:
    """Remove caches and `.venv`; the data folder is never entered."""
    found = [root / name for name in CACHES]
    found += list(root.glob("__pycache__"))
    for name in FOLDERS_WITH_CODE:
        found += [*(root / name).rglob("__pycache__"), *(root / name).rglob("*.egg-info")]
    for folder in found:
        shutil.rmtree(str(folder), ignore_errors=True)
    for file in root.glob(".coverage*"):
        file.unlink()


def far_folders(data: Path) -> list[Path]:
    """Return the existing folders outside `data` in which the embedded server keeps files of this project."""
    found = set()
    for description in (data / "postgres.json", *data.glob("*/postgres.json")):
        with suppress(OSError, ValueError):
            for text in _strings(json.loads(description.read_text())):
                match = FAR_FOLDER.match(text)
                if match and Path(match.group()).is_dir():
                    found.add(Path(match.group()))
    return sorted(found)


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, dict)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _strings(item)


def is_in_use(folder: Path) -> bool:
    """Tell whether somebody holds a lock in `folder` or its server answers: a process id alone proves nothing."""
    locks = [*folder.glob("*.lock"), *folder.glob("*/*.lock")]
    servers = [path for depth in ("", "*/", "*/*/") for path in folder.glob(depth + "postmaster.pid")]
    return any(map(_is_locked, locks)) or any(map(_answers, servers))


def _is_locked(lock: Path) -> bool:
    try:
        import fcntl  # noqa: PLC0415 - not on Windows, where no embedded server exists
    except ImportError:
        return False
    with lock.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _answers(postmaster: Path) -> bool:
    lines = postmaster.read_text().splitlines()
    port_line, folder_line = 3, 4
    if len(lines) <= folder_line:
        return False
    address = f"{lines[folder_line].strip()}/.s.PGSQL.{lines[port_line].strip()}"
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(2)
        try:
            client.connect(address)
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        except OSError:
            return True
    return True


def remove_data(root: Path, *, agreed: bool) -> str:
    """Remove the embedded database under `root` and return what to say.

    Without `agreed` a person is asked, by the names of the folders; without a terminal there is nobody to ask.
    """
    data = root / DATA
    if not data.is_dir():
        return f"nothing to remove: {data} does not exist"
    folders = [data, *far_folders(data)]
    names = " and ".join(map(str, folders))
    if any(map(is_in_use, folders)):
        raise SystemExit(f"{names}: in use; stop it first: rhesis down")
    if not agreed and not sys.stdin.isatty():
        raise SystemExit(f"{names}: not removed, there is no terminal to ask on; to remove it anyway add --yes")
    if not agreed and input(f"Remove {names} with all test sets, runs and results? [y/N] ").lower() not in ("y", "yes"):
        raise SystemExit("nothing was removed")
    for folder in reversed(folders):
        shutil.rmtree(str(folder))
    return f"removed {names}"


def main(arguments: list[str]) -> None:
    """Do `caches` or `data [--yes]`."""
    what, options = arguments[0], arguments[1:]
    if what == "caches":
        remove_caches(ROOT)
        print(f"removed caches and .venv; {ROOT / DATA} is untouched")
        return
    unknown = [option for option in options if option != "--yes"]
    if unknown:
        raise SystemExit(f"unknown argument {unknown[0]}; clean-data takes --yes alone")
    print(remove_data(ROOT, agreed="--yes" in options))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (KeyboardInterrupt, EOFError):
        raise SystemExit(130) from None
    except OSError as error:
        raise SystemExit(f"clean: {error}") from None
