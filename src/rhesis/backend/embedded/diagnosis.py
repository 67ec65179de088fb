"""Turn what PostgreSQL or the operating system said into one sentence with a next step."""

import errno
import re
from pathlib import Path

import psycopg

_DISK_FULL = "the disk that holds {place} is full: make room and start again"

# The first that matches wins. Shared memory and semaphores fail with the words of a full disk, so they come first.
_CAUSES = tuple(
    (re.compile(pattern), sentence)
    for pattern, sentence in (
        (
            r"could not create (shared memory segment|semaphores)",
            "the machine has no shared memory left for PostgreSQL: stop other servers, or set DATABASE_URL to one",
        ),
        (
            r"could not map anonymous shared memory|Cannot allocate memory",
            "the machine has too little memory for PostgreSQL: end other programs and start again",
        ),
        (r"No space left on device|Disk quota exceeded", _DISK_FULL),
        (r"Read-only file system", "{place} lies on a read-only file system: set RHESIS_HOME to a writable folder"),
        (
            r"pre-existing shared memory block",
            "processes of the previous server of {place} are still alive: wait for them or end them, and start again",
        ),
        (
            r"database files are incompatible with server",
            (
                "the database in {place} is damaged or was made by another build of PostgreSQL: "
                "restore a copy of it, or move it away to begin with an empty one"
            ),
        ),
        (
            r"has invalid permissions|has wrong ownership",
            "the folder {place} must belong to the account that runs the server, with mode 0700: put that right",
        ),
        (
            r"locate a valid checkpoint|could not find the database system|global/pg_control|checksum in control file",
            "the database in {place} is damaged: restore a copy of it, or move it away to begin with an empty one",
        ),
        (r"Too many open files|out of file descriptors", "too many files are open: raise `ulimit -n` and start again"),
        (r"Permission denied", "the account that runs the server may not use {place}: give it access to that folder"),
    )
)
_SEVERE = re.compile(r"^.*?\b(?:PANIC|FATAL|error|ERROR):\s+(?P<words>.+)$", re.MULTILINE)


def explain_log(words: str, *, place: Path, log: Path | None) -> str:
    """Say why the server or initdb gave up, from what it wrote, and where to read more."""
    for pattern, sentence in _CAUSES:
        if pattern.search(words):
            return sentence.format(place=place)
    more = f": read {log}" if log else ": start again, or set DATABASE_URL to a server that runs already"
    if severe := _SEVERE.findall(words):
        return f"PostgreSQL could not start in {place} ({severe[-1].strip()}){more}"
    return f"PostgreSQL ended without a word in {place}{more}"


def explain_os_error(error: OSError, *, home: Path) -> str:
    """Say what the operating system refused, on which file."""
    place = error.filename or home
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return _DISK_FULL.format(place=place)
        case errno.EROFS:
            return f"{place} lies on a read-only file system: set RHESIS_HOME to a writable folder"
        case errno.EACCES | errno.EPERM:
            return f"no permission for {place}: run as the account that owns it, or set RHESIS_HOME to another folder"
        case _:
            return f"the embedded database in {home} failed: {error.strerror or error} ({place})"


def explain_connection_error(error: psycopg.Error, *, data: Path, credentials: Path) -> str:
    """Say why a server that runs did not let us work."""
    words = str(error).strip().splitlines()
    if "password authentication failed" in str(error):
        return (
            f"the passwords in {credentials} do not fit the database in {data}: put the file back that belongs to it, "
            f"or remove {data} to begin with an empty database"
        )
    if "No space left on device" in str(error):
        return _DISK_FULL.format(place=data)
    return f"the server of {data} runs but refuses to work ({words[-1] if words else type(error).__name__})"
