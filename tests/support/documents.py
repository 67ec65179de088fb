"""The documents as data, and their shell commands as something that can be run."""

import contextlib
import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from support.waiting import eventually

PROJECT = Path(__file__).resolve().parents[2]
DOCS = PROJECT / "docs"
PRODUCT_NAMES = DOCS / "reference" / "product-names.md"

_BLOCK = re.compile(r"^(?P<indent> *)```(?P<language>\w+)\n(?P<code>.*?)^ *```$", re.MULTILINE | re.DOTALL)
_READ_FILE = re.compile(r"\$\(cat ([\w./-]+)\)")
_SCREEN = 4000
# Whatever a page or a mistake in it starts: pip changes nothing.
_NO_INSTALLATION = {"PIP_NO_INDEX": "1", "PIP_DRY_RUN": "1"}


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: str
    number: int
    language: str
    code: str

    def __str__(self) -> str:
        return f"{self.page} block {self.number}"


def pages() -> list[Path]:
    """Return every page that readers of this project are led to."""
    return [PROJECT / "README.md", PROJECT / "examples" / "README.md", *sorted(DOCS.rglob("*.md"))]


def blocks(page: Path, language: str) -> list[Block]:
    """Return a page's blocks in one language, in order, without the indentation of a list."""
    name = page.relative_to(PROJECT).as_posix()
    found = [match for match in _BLOCK.finditer(page.read_text(encoding="utf-8")) if match["language"] == language]
    return [
        Block(name, number, language, re.sub(rf"^{match['indent']}", "", match["code"], flags=re.MULTILINE))
        for number, match in enumerate(found, start=1)
    ]


def sections(page: Path) -> dict[str, str]:
    """Return the text under each heading of a page, by heading."""
    parts = re.split(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def replacements() -> dict[str, str]:
    """Return the commands that a test cannot run as typed, and what is run instead (empty: nothing)."""
    table = sections(PRODUCT_NAMES)["Commands that are not run as typed"]
    rows = re.findall(r"^\| `(.+?)` \| (.+?) \|", table, re.MULTILINE)
    return {command: instead.strip("`") if instead.startswith("`") else "" for command, instead in rows}


def with_replacements(block: Block) -> Block:
    """Return a block in which each command that a test cannot run is replaced as the table of exceptions says."""
    instead = replacements()
    lines = (instead.get(line.strip(), line) for line in block.code.splitlines())
    return replace(block, code="".join(f"{line}\n" for line in lines))


@dataclass
class Terminal:
    """One bash, in which a reader types block after block. A block that fails is an error; background jobs live on."""

    folder: Path
    variables: dict[str, str]
    name: str = "terminal"
    _process: subprocess.Popen[bytes] = field(init=False)

    def __enter__(self) -> Self:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self._log = self.folder / f"{self.name}.log"
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(
                ["bash", "--noprofile", "--norc"],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env={**os.environ, "PATH": path, **_NO_INSTALLATION, **self.variables},
                start_new_session=True,
            )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stdin.close()
        # What runs in the background is in the shell's process group, and gets the time to stop in order.
        for number, patience in ((signal.SIGTERM, 3), (signal.SIGKILL, 20)):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
            with contextlib.suppress(AssertionError):
                eventually(self._is_over, within=patience, what="the end of what the page started")

    def _is_over(self) -> bool:
        self._process.poll()
        try:
            os.killpg(self._process.pid, 0)
        except ProcessLookupError:
            return True
        return False

    def start(self, block: Block) -> None:
        """Type a block that goes on until somebody ends it."""
        self._write(block.code)

    def press_ctrl_c(self, *, within: float) -> None:
        """Interrupt what runs, and wait until nothing does."""
        os.killpg(self._process.pid, signal.SIGINT)
        self._process.stdin.close()
        eventually(self._is_over, within=within, what=f"an end after Ctrl-C:\n{self.screen()[-_SCREEN:]}")

    def type(self, block: Block, *, within: float = 60) -> str:
        """Type a block as it stands, and return what it printed; a person would wait for files that it reads."""
        for name in _READ_FILE.findall(block.code):
            eventually((self.folder / name).is_file, within=within, what=f"{name}, which {block} reads")
        marker = f"end of {block}: "
        before = len(self.screen())
        # A command that fails ends the shell, and with it this wait.
        self._write(f"set -e\n{block.code}\nset +e\necho '{marker}'ok\n")
        eventually(
            lambda: f"{marker}ok" in self.screen()[before:] or self._process.poll() is not None,
            within=within,
            what=f"the end of {block}:\n{block.code}\nsee {self._log}",
        )
        printed = self.screen()[before:]
        assert f"{marker}ok" in printed, f"{block} failed:\n{block.code}\n{printed[-_SCREEN:]}"
        return printed.partition(f"{marker}ok")[0]

    def screen(self) -> str:
        """Return all that was printed so far."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def _write(self, text: str) -> None:
        self._process.stdin.write(text.encode())
        self._process.stdin.flush()
