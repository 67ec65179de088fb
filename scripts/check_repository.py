"""Check what no other tool checks: the repository names no machine and no registry, and its parts agree.

Each check takes the tracked files and yields its findings, one line each; `main` prints them all.
"""

import ast
import re
import subprocess
import sys
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parent.parent
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60

REGISTRY = re.compile(
    r"://[^\s/\"'`)]*(?:pypi|pythonhosted|npmjs|yarnpkg|crates\.io|rubygems|anaconda|artifactory|jfrog|nexus|devpi|codeartifact)"
    r"|://\S+/simple(?:[/\s\"'`)]|$)"
    r"|://\S+\.(?:whl|tar\.gz|tgz)\b"
    r"|^[ \t]*--?(?:extra-)?(?:index-url|find-links)\b",
    re.IGNORECASE | re.MULTILINE,
)
MACHINE_PATH = re.compile(r"(?<![\w./}~-])/(?:(?:work|root)/|(?:home|Users)/[\w.-]+/)")
# Names that a manual may give a reader's home, in documents only.
EXAMPLE_PATH = re.compile(r"/(?:home|Users)/you/")
# Identifiers of working papers that are not in the repository, conflict markers, notes to oneself.
STRAY = re.compile(r"(?<![\w./-])[VSNOPE]\d\d(?![\w-])|^(?:<{7}|>{7}) |\bFIXME\b", re.MULTILINE)
# The one page whose subject is the mapping from another vocabulary to ours.
STRAY_ALLOWED_IN = frozenset({"docs/reference/product-names.md"})

FENCE = re.compile(r"^(?P<fence>```+|~~~+).*?^(?P=fence)\s*$", re.MULTILINE | re.DOTALL)
CODE_SPAN = re.compile(r"(`+).+?\1", re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(\s*<?([^)\s>]+)>?(?:\s+[^)]*)?\)|^[ \t]*\[[^\]]+\]:\s*(\S+)", re.MULTILINE)
HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*#*$", re.MULTILINE)
HTML_ANCHOR = re.compile(r"<a\s+(?:id|name)=[\"']([^\"']+)[\"']")


@dataclass(frozen=True)
class TrackedFile:
    """One file of the repository: its path from the root, and its text if it is text."""

    path: PurePosixPath
    text: str

    def at(self, offset: int) -> str:
        """Return `path:line` of a place in the text."""
        return f"{self.path}:{self.text.count(chr(10), 0, offset) + 1}"


def read_tracked(root: Path) -> list[TrackedFile]:
    """Read every tracked text file that exists; git decides what is tracked."""
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, text=True, check=False)
    if listing.returncode:
        raise SystemExit(f"check_repository: {listing.stderr.strip() or 'git failed'}")
    names = sorted(name for name in listing.stdout.split("\0") if (root / name).is_file())
    return [TrackedFile(PurePosixPath(name), text) for name in names if (text := _text_of(root / name)) is not None]


def _text_of(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return None


def find_registry_addresses(files: list[TrackedFile]) -> Iterator[str]:
    """Find download addresses: which index to use is a matter of the machine, and an address in a lock binds it."""
    for file in files:
        for match in REGISTRY.finditer(file.text):
            yield f"{file.at(match.start())}: address of a package index: {match.group().strip()}"


def find_machine_paths(files: list[TrackedFile]) -> Iterator[str]:
    """Find absolute paths that exist on somebody's machine only."""
    for file in files:
        for match in MACHINE_PATH.finditer(file.text):
            is_example = EXAMPLE_PATH.fullmatch(match.group()) and file.path.suffix == ".md"
            if not is_example:
                yield f"{file.at(match.start())}: path of one machine: {match.group()}"


def find_stray_words(files: list[TrackedFile]) -> Iterator[str]:
    """Find references a reader cannot follow, and what was forgotten."""
    for file in files:
        if str(file.path) in STRAY_ALLOWED_IN or file.path.match("requirements/*.txt"):
            continue
        for match in STRAY.finditer(file.text):
            yield f"{file.at(match.start())}: does not belong here: {match.group().strip()}"


def find_lock_differences(files: list[TrackedFile]) -> Iterator[str]:
    """Find locks that do not hold what is asked for, entries without hash, and versions that differ between locks."""
    texts = {str(file.path): file.text for file in files}
    locked = {kind: _locked_versions(texts.get(f"requirements/{kind}.txt", "")) for kind in ("run", "dev")}
    for kind, versions in locked.items():
        for name, version in _wanted_versions(texts.get(f"requirements/{kind}.in", "")):
            if name not in versions or version not in {None, versions[name]}:
                wanted = f"{name}=={version}" if version else name
                yield f"requirements/{kind}.txt: has {versions.get(name, 'no ' + name)}, {kind}.in asks for {wanted}"
        for entry in re.split(r"\n(?=\S)", texts.get(f"requirements/{kind}.txt", "")):
            if "==" in entry.split("\n")[0] and not entry.startswith("#") and "--hash=" not in entry:
                yield f"requirements/{kind}.txt: no hash for {entry.split()[0]}"
    for name, version in locked["run"].items():
        if locked["dev"].get(name) != version:
            yield f"requirements/dev.txt: has {name} {locked['dev'].get(name)}, run.txt has {version}; run: make lock"


def _wanted_versions(text: str) -> Iterator[tuple[str, str | None]]:
    for line in text.splitlines():
        match = re.match(r"([A-Za-z0-9][\w.-]*)(?:\[[^\]]*\])?\s*(?:==\s*([^\s;]+))?", line)
        if match:
            yield _normal(match[1]), match[2]


def _locked_versions(text: str) -> dict[str, str]:
    return {_normal(name): version for name, version in re.findall(r"(?m)^([\w.-]+)(?:\[[^\]]*\])?==([^\s;\\]+)", text)}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def find_broken_links(files: list[TrackedFile]) -> Iterator[str]:
    """Find relative links of documents whose file or heading does not exist."""
    anchors = {str(file.path): _anchors_in(file.text) for file in files if file.path.suffix == ".md"}
    paths = {str(file.path) for file in files}
    folders = {str(parent) for file in files for parent in file.path.parents}
    for file in files:
        if file.path.suffix == ".md" and (file.path.name == "README.md" or file.path.parts[0] == "docs"):
            for offset, target in _links_in(file.text):
                place, _, anchor = target.partition("#")
                path = _resolve(file.path, place)
                if path not in paths | folders:
                    yield f"{file.at(offset)}: no such file: {target}"
                elif anchor and anchor not in anchors.get(path, set()):
                    yield f"{file.at(offset)}: no such heading: {target}"


def _resolve(page: PurePosixPath, place: str) -> str:
    if not place:
        return str(page)
    parts: list[str] = [] if place.startswith("/") else list(page.parent.parts)
    for part in PurePosixPath(place.lstrip("/")).parts:
        if part == ".." and parts:
            parts.pop()
        else:
            parts.append(part)
    return str(PurePosixPath(*parts))


def _links_in(text: str) -> Iterator[tuple[int, str]]:
    prose = CODE_SPAN.sub(_blank, FENCE.sub(_blank, text))
    for match in LINK.finditer(prose):
        target = match[1] or match[2]
        if not re.match(r"[a-z][a-z0-9+.-]*:", target, re.IGNORECASE):
            yield match.start(), target


def _blank(match: re.Match[str]) -> str:
    return re.sub(r"[^\n]", " ", match.group())


def _anchors_in(text: str) -> set[str]:
    """Return the names of a page's headings, made as GitHub makes them."""
    anchors = set(HTML_ANCHOR.findall(text))
    for heading in HEADING.findall(FENCE.sub(_blank, text)):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        kept = [letter for letter in plain if letter in " -_" or unicodedata.category(letter)[0] in "LN"]
        slug, number = "".join(kept).replace(" ", "-"), 0
        while (name := f"{slug}-{number}" if number else slug) in anchors:
            number += 1
        anchors.add(name)
    return anchors


def find_oversize(files: list[TrackedFile]) -> Iterator[str]:
    """Find product files and functions that nobody can hold in mind."""
    for file in files:
        if file.path.suffix != ".py" or "src" not in file.path.parts[:3]:
            continue
        lines = len(file.text.splitlines())
        if lines > MAX_FILE_LINES:
            yield f"{file.path}: {lines} lines, at most {MAX_FILE_LINES}"
        for node in ast.walk(ast.parse(file.text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > MAX_FUNCTION_LINES:
                    yield f"{file.path}:{node.lineno}: {node.name} has {lines} lines, at most {MAX_FUNCTION_LINES}"


CHECKS: tuple[Callable[[list[TrackedFile]], Iterator[str]], ...] = (
    find_registry_addresses,
    find_machine_paths,
    find_stray_words,
    find_lock_differences,
    find_broken_links,
    find_oversize,
)


def main() -> int:
    """Print every finding; return 1 if there is one."""
    files = read_tracked(ROOT)
    findings = [finding for check in CHECKS for finding in check(files)]
    print(*findings, f"repository: {len(files)} files, {len(findings)} findings", sep="\n")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
