"""What `dev.py` is made of, and what it knows about machines and about the output of failed commands."""

import ast
import importlib.util
import os
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[3]
SOURCE = (ROOT / "dev.py").read_text()


@pytest.fixture
def dev() -> ModuleType:
    spec = importlib.util.spec_from_file_location("dev_script", ROOT / "dev.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_script_is_valid_on_python_3_8_and_short() -> None:
    ast.parse(SOURCE, feature_version=(3, 8))
    assert SOURCE.count("\n") <= 200


def test_the_script_needs_the_standard_library_alone() -> None:
    imported = re.findall(r"^(?:from|import) (\w+)", SOURCE, re.MULTILINE)
    assert set(imported) <= sys.stdlib_module_names


def test_every_target_of_the_makefile_is_one_of_the_script_and_is_described(dev) -> None:
    makefile = (ROOT / "Makefile").read_text()
    (targets,) = re.findall(r"^TARGETS := (.*)$", makefile, re.MULTILINE)
    assert set(targets.split()) == set(dev.TARGETS)
    assert re.findall(r"^\t(.*)$", makefile, re.MULTILINE) == ["@python3 dev.py $@ $(ARGS)"]
    assert re.findall(r"^  ([\w-]+) +\w", dev.__doc__, re.MULTILINE) == list(dev.TARGETS)


def test_the_probe_tells_the_truth_about_a_real_interpreter(dev) -> None:
    found = dev.probe(sys.executable)
    assert (found.version, found.fits, found.makes_venvs) == ("{}.{}".format(*sys.version_info), True, True)
    assert dev.probe("/bin/false") is None
    assert dev.probe("/no/such/python") is None


@pytest.mark.parametrize(
    ("system", "machine", "glibc", "gap"),
    [
        ("linux", "x86_64", True, ""),
        ("linux", "aarch64", True, ""),
        ("darwin", "arm64", False, ""),
        ("linux", "x86_64", False, "linux x86_64 without glibc"),
        ("linux", "riscv64", True, "linux riscv64"),
        ("win32", "AMD64", False, "win32 AMD64 without glibc"),
    ],
)
def test_platforms_without_an_embedded_server_are_known(system, machine, *, glibc, gap, dev, monkeypatch) -> None:
    def confstr(_name: str) -> str:
        if not glibc:
            raise ValueError
        return "glibc 2.36"

    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(dev.platform, "machine", lambda: machine)
    monkeypatch.setattr(os, "confstr", confstr)
    assert dev.lacks_embedded_server() == gap


def test_tests_run_on_every_core_this_process_may_use(dev) -> None:
    assert (
        f"-n {len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()} "
        in dev.TARGETS["test"][1]
    )


NO_NETWORK = """WARNING: Retrying (Retry(total=1)) after connection broken by 'NewConnectionError(...)': /simple/alembic/
ERROR: Could not find a version that satisfies the requirement alembic==1.20.1 (from versions: none)
ERROR: No matching distribution found
"""
DISK_FULL = "ERROR: Could not install packages: [Errno 28] No space left on device\n\n"


@pytest.mark.parametrize(
    ("output", "line"),
    [
        (NO_NETWORK, r"no network, .* run it again when it does \(ERROR: No matching distribution found\)"),
        (DISK_FULL, r"the disk is full, free some space and run it again \(ERROR: .*\)"),
        ("ERROR: THE HASHES DIFFER\n    Expected sha256 00\n", "ERROR: THE HASHES DIFFER"),
        ("Traceback\nOSError: odd\n", "OSError: odd"),
        ("", "it printed nothing"),
    ],
)
def test_a_failed_command_is_one_line_that_quotes_its_last_error(output, line, dev) -> None:
    assert re.fullmatch(line, dev.reason_in(output))
