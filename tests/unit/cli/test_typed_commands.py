"""What a command tells people to type can be typed where they are."""

import sys
from pathlib import Path

from rhesis.backend.cli.terminal import from_here, own_command


def test_a_path_below_the_working_directory_is_relative(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert from_here(tmp_path / ".rhesis" / "demo") == ".rhesis/demo"
    assert from_here(Path("/elsewhere/x")) == "/elsewhere/x"
    assert from_here(tmp_path / "my folder") == "'my folder'"


def test_the_command_is_named_by_its_path_unless_the_shell_finds_it(tmp_path: Path, monkeypatch):
    script = tmp_path / ".venv" / "bin" / "rhesis"
    script.parent.mkdir(parents=True)
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(script)])
    monkeypatch.setenv("PATH", "/nowhere")
    assert own_command() == ".venv/bin/rhesis"
    monkeypatch.setenv("PATH", str(script.parent))
    assert own_command() == "rhesis"
