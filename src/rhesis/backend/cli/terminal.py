"""Talk to the user on stderr; stdout is for data alone."""

import shlex
import shutil
import sys
from pathlib import Path

import click

from rhesis.backend import runtime


def say(message: str) -> None:
    """Print one line of talk, in which nothing can steer the terminal."""
    click.echo(printable(message), err=True)


def say_database() -> None:
    """Name the database that the command reads, without its password."""
    say(f"database: {runtime.describe()}")


def is_terminal() -> bool:
    """Tell whether talk is read by a person as it is printed."""
    return sys.stderr.isatty()


def from_here(path: Path) -> str:
    """Return a path as one types it in the working directory: relative below it, quoted if need be."""
    here = Path.cwd()
    return shlex.quote(str(path.relative_to(here) if path.is_relative_to(here) else path))


def own_command() -> str:
    """Return how to type this command again: by its name where the shell finds it, else by its path."""
    started = Path(sys.argv[0]).absolute()
    if started.name == "__main__.py":
        return f"{from_here(Path(sys.executable))} -m rhesis.backend.cli"
    found = shutil.which("rhesis")
    return "rhesis" if found and Path(found).absolute() == started else from_here(started)


def printable(text: str) -> str:
    r"""Return the text with every control character made visible: it may come from anybody.

    >>> printable("a\x1b[2J\nb")
    'a\\x1b[2J\\nb'
    """
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


def shortened(text: str, length: int) -> str:
    """Return the text on one line of at most `length` characters.

    >>> shortened("one two  three", 9)
    'one two …'
    """
    line = printable(" ".join(text.split()))
    return line if len(line) <= length else line[: length - 1] + "…"
