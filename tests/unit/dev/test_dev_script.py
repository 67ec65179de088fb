"""How `dev.py` sets the project up and what it says when it cannot. No test installs anything."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[3]
SOURCE = (ROOT / "dev.py").read_text()


@pytest.fixture
def dev(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return a fresh `dev` module for a copy of the project that has nothing but the files it reads."""
    project = tmp_path / "a project"
    for name in ("dev.py", "requirements/run.txt", "requirements/dev.txt", "pyproject.toml"):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(SOURCE if name == "dev.py" else f"# {name}\n")
    (project / "packages/chordkeeper").mkdir(parents=True)
    (project / "packages/chordkeeper/pyproject.toml").write_text("# library\n")
    monkeypatch.delenv("PYTHON", raising=False)
    monkeypatch.chdir(project)
    return load(project)


def load(project: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("dev_script", project / "dev.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write_program(path: Path, script: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def write_python(path: Path, version: str, *, venv: bool = True, log: Path | None = None) -> Path:
    """Write an interpreter that answers the probe, makes environments of copies of itself, and logs what it is asked."""
    return write_program(
        path,
        f"""case "$*" in
  "-I -c "*) echo cpython {version.replace(".", " ")} {int(venv)}; exit ;;
  "-m venv"*) for last; do :; done; mkdir -p "$last/bin"; cp "$0" "$last/bin/python"; : > "$last/bin/pip" ;;
esac
echo "$*" >> "{log or "/dev/null"}" """,
    )


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the only folder on PATH besides the shell's own, and keep the tests' own interpreter out of the choice."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/bin:/usr/bin")
    for version in (11, 12, 13, 14):  # hide what this machine has
        write_program(folder / f"python3.{version}", "exit 127")
    write_program(folder / "python3", "exit 127")
    monkeypatch.setattr(sys, "executable", str(folder / "none"))
    return folder


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "calls.log"


@pytest.fixture
def working_python(programs: Path, log: Path) -> Path:
    return write_python(programs / "python3.12", "3.12", log=log)


def calls(log: Path) -> list[str]:
    """Return what was asked of the interpreters since the last look, without the probes."""
    lines = log.read_text().splitlines()
    log.write_text("")
    return lines


def test_the_newest_interpreter_that_fits_is_chosen(dev, programs) -> None:
    write_python(programs / "python3.11", "3.11")
    write_python(programs / "python3.13", "3.13")
    write_python(programs / "python3", "3.15")
    assert dev.choose_interpreter().version == "3.13"


def test_an_old_python3_does_not_hide_a_newer_one(dev, programs) -> None:
    write_python(programs / "python3", "3.8")
    write_python(programs / "python3.12", "3.12")
    assert dev.choose_interpreter().version == "3.12"


def test_a_python3_that_fits_is_found_under_that_name_alone(dev, programs) -> None:
    write_python(programs / "python3", "3.14")
    assert dev.choose_interpreter().command == "python3"


def test_the_interpreter_that_runs_the_script_is_the_last_resort(dev, programs, monkeypatch) -> None:
    monkeypatch.setattr(sys, "executable", str(write_python(programs / "elsewhere" / "python", "3.12")))
    assert dev.choose_interpreter().command.endswith("elsewhere/python")


def test_an_interpreter_without_ensurepip_gives_way_to_an_older_one(dev, programs) -> None:
    write_python(programs / "python3.13", "3.13", venv=False)
    write_python(programs / "python3.12", "3.12")
    assert dev.choose_interpreter().version == "3.12"


def test_the_named_interpreter_is_taken_even_if_a_newer_one_exists(dev, programs, monkeypatch) -> None:
    write_python(programs / "python3.14", "3.14")
    monkeypatch.setenv("PYTHON", str(write_python(programs / "mine", "3.11")))
    assert dev.choose_interpreter().version == "3.11"


@pytest.mark.usefixtures("programs")
def test_no_fitting_interpreter_is_one_line_that_says_what_to_do(dev) -> None:
    with pytest.raises(SystemExit) as refusal:
        dev.choose_interpreter()
    line = str(refusal.value)
    assert line.startswith("dev.py: CPython 3.11 to 3.14 is needed and none is on PATH (this is 3.")
    assert line.endswith("install one, or set PYTHON=/path/to/python3.12")
    assert "\n" not in line


@pytest.mark.parametrize("version", ["3.10", "3.15"])
def test_a_named_interpreter_that_does_not_fit_is_refused_by_name(version, dev, programs, monkeypatch) -> None:
    monkeypatch.setenv("PYTHON", str(write_python(programs / "mine", version)))
    with pytest.raises(SystemExit, match=r"is needed and PYTHON=\S+/mine is none; install one"):
        dev.choose_interpreter()


def test_a_missing_venv_module_is_one_line_that_names_the_package(dev, programs) -> None:
    write_python(programs / "python3.13", "3.13", venv=False)
    with pytest.raises(SystemExit, match=r"python3.13 cannot create .venv.*apt install python3.13-venv") as refusal:
        dev.choose_interpreter()
    assert "\n" not in str(refusal.value)


@pytest.mark.usefixtures("working_python")
def test_an_installation_takes_hashes_from_the_lock_and_nothing_unlocked(dev, log) -> None:
    dev.install("run")
    venv, locked, own = calls(log)
    assert venv.startswith("-m venv --clear ")
    assert " --require-hashes -r " in locked
    assert locked.endswith("requirements/run.txt")
    assert own.endswith("install --no-deps --no-build-isolation -e packages/chordkeeper -e .")


@pytest.mark.usefixtures("working_python")
def test_a_second_installation_does_nothing(dev, log) -> None:
    dev.install("run")
    calls(log)
    dev.install("run")
    assert calls(log) == []


@pytest.mark.usefixtures("working_python")
@pytest.mark.parametrize(
    "name", ["requirements/run.txt", "requirements/dev.txt", "pyproject.toml", "packages/chordkeeper/pyproject.toml"]
)
def test_a_changed_lock_or_project_file_is_installed_into_the_same_environment(name, dev, log) -> None:
    dev.install("run")
    calls(log)
    (dev.ROOT / name).write_text("changed")
    dev.install("run")
    assert len(calls(log)) == 2


@pytest.mark.usefixtures("working_python")
def test_tests_need_more_than_a_run_does_and_then_serve_both(dev, log) -> None:
    dev.install("run")
    calls(log)
    dev.install("dev")
    assert calls(log)[0].endswith("requirements/dev.txt")
    dev.install("run")
    assert calls(log) == []


@pytest.mark.usefixtures("working_python")
def test_a_changed_lock_does_not_take_the_tests_packages_away(dev, log) -> None:
    dev.install("dev")
    calls(log)
    (dev.ROOT / "pyproject.toml").write_text("changed")
    dev.install("run")
    assert calls(log)[0].endswith("requirements/dev.txt")


@pytest.mark.usefixtures("working_python")
def test_a_moved_project_gets_a_new_environment(dev, log, tmp_path) -> None:
    dev.install("run")
    calls(log)
    moved = load(dev.ROOT.rename(tmp_path / "moved"))
    moved.install("run")
    assert calls(log)[0].startswith("-m venv --clear ")


def test_another_named_interpreter_gets_a_new_environment(dev, working_python, log, monkeypatch) -> None:
    dev.install("run")
    monkeypatch.setenv("PYTHON", str(working_python))
    calls(log)
    dev.install("run")
    assert calls(log) == []
    monkeypatch.setenv("PYTHON", str(write_python(working_python.with_name("other"), "3.13", log=log)))
    dev.install("run")
    assert calls(log)[0].startswith("-m venv --clear ")


def test_an_installation_that_failed_is_not_taken_for_a_finished_one(dev, working_python, log) -> None:
    dev.install("run")
    (dev.ROOT / "pyproject.toml").write_text("changed")
    write_program(dev.PYTHON, 'case "$*" in "-I -c "*) echo cpython 3 12 1 ;; *) exit 1 ;; esac')
    with pytest.raises(SystemExit, match="pip failed: it printed nothing"):
        dev.install("run")
    (dev.ROOT / "pyproject.toml").write_text("# pyproject.toml\n")
    dev.PYTHON.write_bytes(working_python.read_bytes())
    calls(log)
    dev.install("run")
    assert len(calls(log)) == 2


@pytest.mark.usefixtures("working_python")
@pytest.mark.parametrize("missing", ["python", "pip"])
def test_an_environment_that_lost_its_interpreter_or_never_had_pip_is_made_again(missing, dev, log) -> None:
    dev.install("run")
    (dev.BIN / missing).unlink()
    (dev.ROOT / "pyproject.toml").write_text("changed")
    calls(log)
    dev.install("run")
    assert calls(log)[0].startswith("-m venv --clear ")


def test_an_environment_whose_interpreter_no_longer_works_is_made_again(dev, working_python, log) -> None:
    dev.install("run")
    calls(log)
    dev.PYTHON.unlink()
    dev.install("run")
    assert calls(log)[0].startswith("-m venv --clear ")
    assert working_python.exists()


def test_a_failing_pip_ends_the_script_with_its_reason(dev, tmp_path) -> None:
    program = write_program(tmp_path / "pip", "echo 'ERROR: first'; echo 'ERROR: last' >&2; echo hint; exit 1")
    with pytest.raises(SystemExit, match=r"^dev\.py: pip failed: ERROR: last$"):
        dev.checked("pip", str(program))


@pytest.mark.usefixtures("working_python")
def test_without_an_embedded_server_the_rest_is_installed_and_the_way_out_named(dev, log, monkeypatch, capsys) -> None:
    lock = "amqp==5.4.2 \\\n    --hash=sha256:00\nembedded-postgres==18.6.3 ; x \\\n    --hash=sha256:01\nfastapi==0.165.0\n"
    (dev.ROOT / "requirements/run.txt").write_text(lock)
    monkeypatch.setattr(dev, "lacks_embedded_server", lambda: "linux x86_64 without glibc")
    dev.install("run")
    installed = Path(calls(log)[1].partition(" -r ")[2])
    assert installed.read_text() == "amqp==5.4.2 \\\n    --hash=sha256:00\nfastapi==0.165.0\n"
    assert "no embedded PostgreSQL for linux x86_64 without glibc: set DATABASE_URL" in capsys.readouterr().err


@pytest.fixture
def executed(dev: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Return the commands that would have replaced the script, with an installation that always succeeds."""
    commands: list[list[str]] = []
    monkeypatch.setattr(dev, "install", lambda kind: commands.append(["install", kind]))

    def replace_process(_program: str, command: list[str]) -> None:
        commands.append(command)
        raise SystemExit

    monkeypatch.setattr(os, "execvp", replace_process)
    return commands


@pytest.mark.parametrize(
    ("target", "arguments", "needs", "command"),
    [
        ("demo", ["--tests", "9"], "run", "rhesis demo --tests 9"),
        ("up", [], "run", "rhesis up"),
        ("test", ["--", "-k", "a or b"], "dev", "python -m pytest -n 2 --dist loadgroup -k a or b"),
        ("chaos", ["-x"], "dev", "python -m pytest -m chaos --timeout 3600 -x"),
        ("bench", [], "dev", "python -m benchmarks"),
    ],
)
def test_a_target_installs_what_it_needs_and_becomes_its_command(
    target, arguments, needs, command, dev, executed, monkeypatch
) -> None:
    monkeypatch.setitem(dev.TARGETS, "test", ("dev", "python -m pytest -n 2 --dist loadgroup"))
    monkeypatch.delenv("CHAOS_ROUNDS", raising=False)
    with pytest.raises(SystemExit):
        dev.main(target, arguments)
    assert executed[0] == ["install", needs]
    program, *rest = executed[1]
    assert program == str(dev.BIN / command.partition(" ")[0])
    assert " ".join(rest) == command.partition(" ")[2]
    assert os.environ.get("CHAOS_ROUNDS") == ("300" if target == "chaos" else None)


def test_lint_runs_every_check_and_fails_if_any_does(dev, executed, monkeypatch) -> None:
    monkeypatch.setattr(dev.subprocess, "call", lambda command: executed.append(command) or int(len(executed) == 3))
    with pytest.raises(SystemExit) as end:
        dev.main("lint", [])
    assert end.value.code == 1
    programs = [Path(command[0]).name for command in executed[1:]]
    assert programs == ["ruff", "ruff", "mypy", "lint-imports", "python"]


@pytest.mark.parametrize("target", ["clean", "clean-data"])
def test_cleaning_needs_no_installation(target, dev, executed) -> None:
    with pytest.raises(SystemExit):
        dev.main(target, ["--yes"])
    assert executed == [
        [sys.executable, "scripts/clean.py", target.replace("clean-", "").replace("clean", "caches"), "--yes"]
    ]


def run_script(dev: ModuleType, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [dev.sys.executable, str(dev.ROOT / "dev.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize(("arguments", "code"), [([], 2), (["wrong"], 2), (["help"], 0), (["--help"], 0)])
def test_without_a_known_target_the_targets_are_listed(arguments, code, dev) -> None:
    result = run_script(dev, *arguments)
    assert result.returncode == code
    assert "  demo         run a test set" in result.stderr


def prepare(dev: ModuleType, monkeypatch: pytest.MonkeyPatch, program: str, script: str) -> None:
    """Make an up-to-date environment that holds this shell script."""
    monkeypatch.setenv("PYTHON", str(write_python(dev.ROOT / "python", "3.12")))
    dev.install("dev")
    write_program(dev.BIN / program, script)


@pytest.mark.parametrize("code", [0, 1, 5, 130])
def test_the_exit_code_is_the_commands_own(code, dev, monkeypatch) -> None:
    prepare(dev, monkeypatch, "rhesis", f'echo "$@"; exit {code}')
    result = run_script(dev, "demo", "--tests", "two words")
    assert (result.returncode, result.stdout, result.stderr) == (code, "demo --tests two words\n", "")


def test_an_interruption_prints_no_traceback(dev, monkeypatch) -> None:
    prepare(dev, monkeypatch, "ruff", "kill -INT $PPID $$")
    result = run_script(dev, "lint")
    assert (result.returncode, result.stderr) == (130, "")


def test_a_program_that_is_missing_is_one_line(dev, monkeypatch) -> None:
    monkeypatch.setenv("PATH", str(dev.ROOT))
    result = run_script(dev, "lock")
    assert result.returncode == 1
    assert result.stderr == "dev.py: [Errno 2] No such file or directory: 'uv'\n"
