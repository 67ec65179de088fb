"""Run `rhesis` as a user does: real processes, with a bound on everything."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import psutil

from rhesis.backend.embedded import EmbeddedServer
from support.waiting import eventually

RHESIS = (sys.executable, "-m", "rhesis.backend.cli")
ENDS_WITHIN_SECONDS = 60.0


def rhesis(
    *arguments: object, folder: Path, timeout: float = ENDS_WITHIN_SECONDS, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    return subprocess.run(
        [*RHESIS, *map(str, arguments)],
        cwd=folder,
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def succeeded(result: subprocess.CompletedProcess[str]) -> str:
    """Return what a command printed as data, without the last line end; fail with its talk when it failed."""
    assert result.returncode == 0, (result.returncode, result.stdout, result.stderr)
    return result.stdout.rstrip("\n")


@dataclass
class Running:
    """A command that runs. What it prints is gathered."""

    process: subprocess.Popen[str]
    out: list[str] = field(default_factory=list)
    err: list[str] = field(default_factory=list)

    def waits_for(self, text: str, *, within: float = ENDS_WITHIN_SECONDS) -> str:
        """Return the first line of talk that holds `text`."""

        def look() -> str | None:
            found = next((line for line in self.err if text in line), None)
            if found is None and self.process.poll() is not None:
                raise AssertionError(f"it ended with {self.process.returncode}: {self.err[-20:]}")
            return found

        return eventually(look, within=within, what=f"{text!r} among {self.err[-20:]}")

    def groups(self) -> set[int]:
        """Return the process groups of the command and of everything below it."""
        process = psutil.Process(self.process.pid)
        return {os.getpgid(one.pid) for one in (process, *process.children(recursive=True)) if one.is_running()}

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def ends(self, *, within: float = ENDS_WITHIN_SECONDS) -> int:
        """Return the exit code."""
        return self.process.wait(timeout=within)


@contextlib.contextmanager
def running(*command: object, folder: Path, **variables: str) -> Iterator[Running]:
    """Start a command in a process group of its own, and end what is left of it and of its children afterwards."""
    process = subprocess.Popen(
        [str(word) for word in command],
        cwd=folder,
        env={**os.environ, "PYTHONUNBUFFERED": "1", **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    started = Running(process)
    readers = [
        threading.Thread(target=_gather, args=(stream, lines), daemon=True)
        for stream, lines in ((process.stdout, started.out), (process.stderr, started.err))
    ]
    for reader in readers:
        reader.start()
    try:
        yield started
    finally:
        end_everything(process)
        for reader, stream in zip(readers, (process.stdout, process.stderr), strict=True):
            reader.join(5)
            if stream is not None:
                stream.close()


def _gather(stream: IO[str], lines: list[str]) -> None:
    for line in stream:
        lines.append(line)  # noqa: PERF402 - each line is looked for as soon as it is there


def end_everything(process: subprocess.Popen[str]) -> None:
    """Kill the command and everything below it, group by group."""
    with contextlib.suppress(psutil.NoSuchProcess):
        below = psutil.Process(process.pid).children(recursive=True)
        for pid in {process.pid, *(one.pid for one in below)}:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(os.getpgid(pid), signal.SIGKILL)
    process.wait(timeout=10)


def group_exists(group: int) -> bool:
    """Tell whether any process of this group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def assert_gone(groups: set[int]) -> None:
    """Check that no process of these groups is left."""
    eventually(lambda: not any(map(group_exists, groups)), within=10, what=f"the end of the groups {groups}")


@contextlib.contextmanager
def own_home(folder: Path) -> Iterator[Path]:
    """Yield a home for an embedded database, and remove the database afterwards, also what lies elsewhere."""
    home = folder / "home"
    yield home
    for one in (home / "demo", home):
        if one.is_dir():
            EmbeddedServer(one).erase()
