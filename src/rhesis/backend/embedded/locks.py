"""Three lock files, all released by the kernel when their holders die.

`clients.lock`   shared, by every process that uses the server: who can lock it alone is the last one out.
`server.lock`    exclusive, by whoever starts or stops the server.
`running.lock`   exclusive, inherited by the server and its children: free means no process of the server is left,
                 whatever a left-over pid file says.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rhesis.backend.embedded.files import open_private
from rhesis.backend.errors import EmbeddedServerError

_POLL_SECONDS = 0.01

# Exclusive locks that this process holds right now. A child forked meanwhile would keep them past our own release.
_exclusive: set[int] = set()


def _close_in_child() -> None:
    for descriptor in tuple(_exclusive):
        os.close(descriptor)
    _exclusive.clear()


os.register_at_fork(after_in_child=_close_in_child)


class SharedLock:
    """A shared lock held from construction until `close`.

    A forked child has the same descriptor and so keeps the lock as long as it lives: it may be using the server. For
    that reason `close` never unlocks, it only lets go of this process's hold.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = open_private(path, os.O_RDWR)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._descriptor)
            raise EmbeddedServerError(
                f"{path} is locked by a program that is not one of ours: end it and start again"
            ) from error

    def close(self) -> None:
        """Let go; the lock ends with the last process that has it."""
        os.close(self._descriptor)


def is_unlocked(path: Path) -> bool:
    """Tell whether no process holds a lock on the file, not even a shared one."""
    if not path.exists():
        return True
    descriptor = open_private(path, os.O_RDWR)
    try:
        return _try_exclusive(descriptor)
    finally:
        # Closing alone would leave the lock with a child that another thread forks at this moment.
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)


@contextmanager
def exclusive(path: Path, *, timeout_seconds: float) -> Iterator[None]:
    """Hold the file alone inside the block; wait for another holder up to the timeout."""
    descriptor = _lock_alone(path, timeout_seconds, "another process is starting or stopping the server")
    try:
        yield
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        _forget(descriptor)


@contextmanager
def inheritable(path: Path, *, timeout_seconds: float) -> Iterator[int]:
    """Hold the file alone and yield the descriptor to pass on; a process started with it keeps the lock."""
    descriptor = _lock_alone(path, timeout_seconds, "processes of the server's previous run are still alive")
    try:
        yield descriptor
    finally:
        _forget(descriptor)


def _lock_alone(path: Path, timeout_seconds: float, obstacle: str) -> int:
    descriptor = open_private(path, os.O_RDWR)
    _exclusive.add(descriptor)
    try:
        locked = _wait_exclusive(descriptor, timeout_seconds)
    except BaseException:
        _forget(descriptor)
        raise
    if not locked:
        _forget(descriptor)
        raise EmbeddedServerError(
            f"{obstacle}, and {path} did not become free in {timeout_seconds:g} s: "
            "wait, or end the process that has this file open, and start again"
        )
    return descriptor


def _forget(descriptor: int) -> None:
    _exclusive.discard(descriptor)
    os.close(descriptor)


def _wait_exclusive(descriptor: int, timeout_seconds: float) -> bool:
    deadline = time.monotonic() + timeout_seconds
    while not _try_exclusive(descriptor):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def _try_exclusive(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
