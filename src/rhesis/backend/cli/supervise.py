"""Start child processes and leave none behind: not after Ctrl-C, not after SIGTERM, not after a failure.

Each child leads a process group of its own, so Ctrl-C in the terminal reaches this process alone, which then stops the
children in order; what a child has forked ends with its group. Everything is ended by id.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType, TracebackType
from typing import IO, Any, Self

from rhesis.backend.cli.failures import CommandFailed
from rhesis.backend.cli.terminal import say

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_LOOK_SECONDS = 0.05
_TAIL_LINES = 5
_READER_SECONDS = 2.0


class Interrupted(BaseException):
    """The user or the system asks this process to stop."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal.Signals(signal_number).name)
        self.exit_code = 128 + signal_number


class Interruptions:
    """Inside the block the first stop signal raises `Interrupted` in the main thread, at a moment that loses nothing.

    Later ones set `hurry`: whoever asks twice does not want to wait for an orderly end.
    """

    def __init__(self) -> None:
        self.hurry = threading.Event()
        self._before: dict[signal.Signals, Any] = {}
        self._stopping = False
        self._held = False
        self._pending: int | None = None

    def __enter__(self) -> Self:
        for number in STOP_SIGNALS:
            self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def begin_stopping(self) -> None:
        """Let no signal interrupt what follows."""
        self._stopping = True

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let a signal wait until the block has ended: what it makes must be known before it can be ended."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
        if self._pending is not None:
            self._raise(self._pending)

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        if self._stopping:
            self.hurry.set()
        elif self._held:
            self._pending = number
        else:
            self._raise(number)

    def _raise(self, number: int) -> None:
        self._stopping = True
        raise Interrupted(number)


@dataclass(frozen=True)
class Program:
    """What to start. Programs of a lower `stage` are stopped before those of a higher one begin to be."""

    name: str
    command: Sequence[str]
    stage: int = 0
    inherited: tuple[int, ...] = ()


@dataclass
class Child:
    """A program that was started. `tail` holds the last lines it printed."""

    program: Program
    process: subprocess.Popen[bytes]
    tail: list[str] = field(default_factory=list)
    reader: threading.Thread | None = None

    def exit_code(self) -> int | None:
        """Return how the program ended, negative for a signal, or None while it runs.

        It is not reaped by this: until `end_group` its id, which is its group's, cannot become somebody else's.
        """
        found = os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if found is None:
            return None
        return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status

    def ask_to_end(self) -> None:
        """Send TERM to the program alone: it knows how to end what it has started."""
        if self.exit_code() is None:
            os.kill(self.process.pid, signal.SIGTERM)

    def end_group(self) -> None:
        """End what is left of the program and of everything it has started, and reap it."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        if self.reader is not None:
            self.reader.join(_READER_SECONDS)


class Family:
    """The children of one command. Leaving the block ends all of them, stage by stage, within a bound."""

    def __init__(
        self, interruptions: Interruptions, *, patience_seconds: float = 10.0, log: Path | None = None
    ) -> None:
        """With `log`, a folder, what children print goes there; else to stderr with the child's name in front."""
        self._interruptions = interruptions
        self._patience = patience_seconds
        self._log = log
        self._children: list[Child] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        try:
            self._interruptions.begin_stopping()
        finally:
            self.stop()

    def start(self, program: Program) -> Child:
        """Start a program."""
        with self._interruptions.held():
            process = subprocess.Popen(
                program.command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=program.inherited,
            )
            child = Child(program, process)
            self._children.append(child)
        child.reader = threading.Thread(target=self._read, args=(child,), name=f"{program.name} output", daemon=True)
        child.reader.start()
        return child

    def check(self) -> None:
        """Raise `CommandFailed` if a child has ended by itself, with the last thing it said."""
        for child in self._children:
            if (code := child.exit_code()) is not None:
                raise CommandFailed(self._obituary(child, code))

    def wait_until(self, look: Callable[[], bool], *, seconds: float, what: str) -> None:
        """Wait until `look` is true; raise `CommandFailed` when a child ends meanwhile, or the time is over."""
        until = time.monotonic() + seconds
        while not look():
            self.check()
            if time.monotonic() > until:
                raise CommandFailed(f"{what} was not ready within {seconds:g} s{self._where()}")
            time.sleep(_LOOK_SECONDS)

    def wait_for_an_end(self) -> None:
        """Wait until a child ends, which is a failure; a stop signal interrupts it."""
        while True:
            self.check()
            time.sleep(4 * _LOOK_SECONDS)

    def stop(self) -> None:
        """End every child: TERM, a bounded wait, KILL for what is left of its group."""
        for stage in sorted({child.program.stage for child in self._children}):
            children = [child for child in self._children if child.program.stage == stage]
            for child in children:
                child.ask_to_end()
            self._await(children)
            for child in children:
                child.end_group()
        self._children.clear()

    def _await(self, children: Sequence[Child]) -> None:
        until = time.monotonic() + self._patience
        while time.monotonic() < until and any(child.exit_code() is None for child in children):
            if self._interruptions.hurry.wait(_LOOK_SECONDS):
                return

    def _obituary(self, child: Child, code: int) -> str:
        if child.reader is not None:
            child.reader.join(_READER_SECONDS)
        said = next((line for line in reversed(child.tail) if line.strip()), "it said nothing")
        return f"{child.program.name} ended by itself (exit code {code}): {said}{self._where()}"

    def _where(self) -> str:
        return f"; its output is in {self._log}" if self._log else ""

    def _read(self, child: Child) -> None:
        stream = child.process.stdout
        if stream is None:
            return
        with stream, self._sink(child.program.name) as write:
            for line in stream:
                text = line.decode(errors="replace").rstrip()
                child.tail = [*child.tail[1 - _TAIL_LINES :], text]
                write(text)

    @contextmanager
    def _sink(self, name: str) -> Iterator[Callable[[str], object]]:
        if self._log is None:
            yield lambda text: say(f"{name:<9} | {text}")
            return
        self._log.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self._log / f"{name}.log").open("a", encoding="utf-8") as file:
            yield lambda text: _write_line(file, text)


def _write_line(file: IO[str], text: str) -> None:
    file.write(f"{text}\n")
    file.flush()


def own_command(*arguments: str) -> tuple[str, ...]:
    """Return the command line that runs `rhesis` with this very interpreter."""
    return (sys.executable, "-m", "rhesis.backend.cli", *arguments)
