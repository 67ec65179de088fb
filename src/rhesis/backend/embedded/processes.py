"""Run PostgreSQL's programs as the server's account, with nothing of our own environment.

A `PGDATA` or `LC_ALL` of the caller must not reach the server, and Ctrl-C in the caller's terminal must not stop it.
"""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from rhesis.backend.embedded.account import Account

PROCESSES = Path("/proc")
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}

# The shell ends at once, so the server belongs to init and not to us: no zombie here when it dies. Every argument
# is a positional parameter, so no path is ever parsed as shell text.
_DETACH = '"$@" </dev/null >&2 & echo "$!"'


def run_program(
    account: Account, command: Sequence[str], *, timeout_seconds: float, keep_open: tuple[int, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """Run one program to its end and return its code and its words."""
    return subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
        timeout=timeout_seconds,
        env=ENVIRONMENT,
        cwd="/",
        umask=0o077,
        pass_fds=keep_open,
        user=account.user,
        group=account.group,
        extra_groups=account.extra_groups,
    )


def spawn_detached(account: Account, command: Sequence[str], *, output: int, keep_open: tuple[int, ...]) -> int:
    """Start a program that outlives us, in a session of its own, and return its process id."""
    finished = subprocess.run(
        ["/bin/sh", "-c", _DETACH, "sh", *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=output,
        text=True,
        check=True,
        env=ENVIRONMENT,
        cwd="/",
        umask=0o077,
        start_new_session=True,
        pass_fds=keep_open,
        user=account.user,
        group=account.group,
        extra_groups=account.extra_groups,
    )
    return int(finished.stdout)


def serves(process_id: int, data: Path) -> bool:
    """Tell whether this process is the server of this data folder, and not a stranger that got its number."""
    if not (PROCESSES / "self").exists():
        return str(data) in _listed_command(process_id)
    process = PROCESSES / str(process_id)
    try:
        if (process / "cwd").samefile(data):
            return True
        return os.fsencode(data) in (process / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return False


def _listed_command(process_id: int) -> str:
    """Ask `ps`, where there is no /proc."""
    listing = subprocess.run(
        ["/bin/ps", "-ww", "-o", "command=", "-p", str(process_id)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        errors="replace",
        check=False,
        env=ENVIRONMENT,
    )
    return listing.stdout
