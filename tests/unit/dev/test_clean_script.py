"""What `make clean` and `make clean-data` delete, and what they must never delete."""

import ast
import fcntl
import importlib.util
import json
import re
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = ROOT / "scripts" / "clean.py"


@pytest.fixture
def clean() -> ModuleType:
    spec = importlib.util.spec_from_file_location("clean_script", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Return the data folder of a project in `tmp_path`."""
    folder = tmp_path / ".rhesis"
    (folder / "postgres").mkdir(parents=True)
    (folder / "clients.lock").touch()
    return folder


@pytest.fixture
def far(clean: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an existing folder outside the project in which the server may keep files."""
    folder = tmp_path / "outside" / "rhesis" / "0123456789ab"
    (folder / "data").mkdir(parents=True)
    monkeypatch.setattr(clean, "FAR_FOLDER", re.compile(re.escape(str(folder)) + "(?=/|$)"))
    return folder


@pytest.fixture
def socket_folder() -> Iterator[Path]:
    """Return a folder whose name is short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="clean") as folder:
        yield Path(folder)


def make_files(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def files_below(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def test_the_script_is_valid_on_python_3_8_and_needs_the_standard_library_alone() -> None:
    tree = ast.parse(SCRIPT.read_text(), feature_version=(3, 8))
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert {name.partition(".")[0] for name in imported} <= sys.stdlib_module_names


def test_cleaning_removes_what_can_be_made_again_and_nothing_else(clean, tmp_path) -> None:
    kept = {
        "src/a.py",
        "tests/data/build",
        ".rhesis/postgres/PG_VERSION",
        ".rhesis/__pycache__/a",
        ".env",
        ".git/build",
    }
    make_files(tmp_path, *kept, ".venv/bin/python", "src/a/__pycache__/a.pyc", ".mypy_cache/x", "dist/a.whl")
    make_files(tmp_path, "__pycache__/dev.pyc", ".coverage", ".coverage.host.1", "src/a.egg-info/PKG-INFO")
    clean.remove_caches(tmp_path)
    assert files_below(tmp_path) == kept


def test_without_data_there_is_nothing_to_remove_and_the_place_is_named(clean, tmp_path) -> None:
    assert clean.remove_data(tmp_path, agreed=True) == f"nothing to remove: {tmp_path / '.rhesis'} does not exist"


def test_data_is_not_removed_where_nobody_can_be_asked(clean, data, monkeypatch) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    with pytest.raises(SystemExit, match=re.escape(f"{data}: not removed, there is no terminal")):
        clean.remove_data(data.parent, agreed=False)
    assert data.is_dir()


@pytest.mark.parametrize(("answer", "removed"), [("y", True), ("YES", True), ("", False), ("n", False), ("yep", False)])
def test_the_question_names_the_folders_and_only_yes_removes_them(
    answer, removed, clean, data, far, monkeypatch
) -> None:
    (data / "postgres.json").write_text(json.dumps({"data": str(far / "data")}))
    questions = []
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda question: questions.append(question) or answer)
    if removed:
        clean.remove_data(data.parent, agreed=False)
    else:
        with pytest.raises(SystemExit, match="nothing was removed"):
            clean.remove_data(data.parent, agreed=False)
    assert questions == [f"Remove {data} and {far} with all test sets, runs and results? [y/N] "]
    assert (data.exists(), far.exists()) == (not removed, not removed)


def test_the_folder_outside_the_project_is_found_wherever_the_description_names_it(clean, data, far) -> None:
    (data / "demo").mkdir()
    (data / "demo" / "postgres.json").write_text(json.dumps({"server": [{"binaries": f"{far}/bin", "port": 1}]}))
    assert clean.far_folders(data) == [far]


@pytest.mark.parametrize("named", ["/usr/lib/postgresql/18/bin", "/", "{far}-other", "{far}/../../../..", "x{far}"])
def test_no_other_folder_that_the_description_names_is_removed(named, clean, data, far) -> None:
    (far.parent / f"{far.name}-other").mkdir()
    (data / "postgres.json").write_text(json.dumps({"binaries": named.format(far=far), "broken": None}))
    assert [folder for folder in clean.far_folders(data) if folder != far] == []


@pytest.mark.parametrize("path", ["/var/lib/rhesis/0123456789ab", "/var/tmp/rhesis-0123456789ab/data"])
def test_the_places_the_server_uses_are_recognised(path, clean) -> None:
    assert clean.FAR_FOLDER.match(path).group().endswith("0123456789ab")


@pytest.mark.parametrize("path", ["/var/lib/rhesis", "/var/lib/rhesis/data", "/var/tmp/other-0123456789ab", "/var/lib"])
def test_other_places_are_not(path, clean) -> None:
    assert clean.FAR_FOLDER.match(path) is None


def test_an_unreadable_description_names_nothing(clean, data) -> None:
    (data / "postgres.json").write_text("{")
    assert clean.far_folders(data) == []


@pytest.mark.parametrize(("lock", "kind"), [("clients.lock", fcntl.LOCK_SH), ("demo/running.lock", fcntl.LOCK_EX)])
def test_data_that_a_client_or_the_server_holds_is_not_removed_even_if_agreed(lock, kind, clean, data) -> None:
    make_files(data, lock)
    with (data / lock).open() as holder:
        fcntl.flock(holder, kind)
        with pytest.raises(SystemExit, match="in use; stop it first: rhesis down"):
            clean.remove_data(data.parent, agreed=True)
    assert clean.remove_data(data.parent, agreed=True) == f"removed {data}"


@pytest.mark.parametrize("place", ["postgres", "demo/postgres", "outside"])
def test_data_whose_server_answers_is_not_removed(place, clean, data, far, socket_folder) -> None:
    (data / "postgres.json").write_text(json.dumps(str(far)))
    folder = far / "data" if place == "outside" else data / place
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["1", str(folder), "1700000000", "5432", str(socket_folder), "", "0 0", "ready"]
    (folder / "postmaster.pid").write_text("\n".join(lines))
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(socket_folder / ".s.PGSQL.5432"))
        server.listen()
        with pytest.raises(SystemExit, match="in use"):
            clean.remove_data(data.parent, agreed=True)
    clean.remove_data(data.parent, agreed=True)  # nobody listens any more: the pid file alone proves nothing
    assert not data.exists()


def test_a_pid_file_that_a_crash_cut_short_does_not_count(clean, data) -> None:
    (data / "postgres" / "postmaster.pid").write_text("1\n")
    assert not clean.is_in_use(data)


def test_an_unknown_argument_is_refused_before_anything_is_removed(clean) -> None:
    with pytest.raises(SystemExit, match="unknown argument --force"):
        clean.main(["data", "--force", "--yes"])
