"""A process number alone proves nothing: the process must be the server of the data folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rhesis.backend.embedded import processes


@pytest.fixture
def with_argument(tmp_path):
    """Run a process that names a folder in its command line, as the server names its data."""
    folder = tmp_path / "data folder"
    folder.mkdir()
    process = subprocess.Popen([sys.executable, "-c", "input()", str(folder)], stdin=subprocess.PIPE)
    yield process.pid, folder
    process.communicate(b"\n")


@pytest.fixture(params=["proc", "ps"])
def listing(request, monkeypatch, tmp_path):
    """Look in /proc, and with `ps` where there is none."""
    if request.param == "ps":
        if not Path("/bin/ps").exists():
            pytest.skip("needs ps")
        monkeypatch.setattr(processes, "PROCESSES", tmp_path / "none")


@pytest.mark.usefixtures("listing")
def test_a_process_that_names_the_folder_serves_it_and_no_other(with_argument, tmp_path):
    process_id, folder = with_argument

    assert processes.serves(process_id, folder)
    assert not processes.serves(process_id, tmp_path / "other")
    assert not processes.serves(os.getpid(), folder)


@pytest.mark.usefixtures("listing")
def test_a_number_that_no_process_has_serves_nothing(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()

    assert not processes.serves(ended.pid, tmp_path)


def test_a_process_that_works_in_the_folder_serves_it_under_whatever_name_it_was_started(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, cwd=tmp_path)

    assert processes.serves(process.pid, tmp_path)

    process.communicate(b"\n")
