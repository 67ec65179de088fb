"""The lock files tell who is there, also across forks."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rhesis.backend.embedded.account import Account, can_enter
from rhesis.backend.embedded.locks import SharedLock, exclusive, inheritable, is_unlocked
from rhesis.backend.errors import EmbeddedServerError

STRANGER = Account(uid=4242, gid=4242, name="stranger", switched=True)


def test_shared_holds_exclude_nobody_but_the_one_who_wants_to_be_last(tmp_path):
    path = tmp_path / "clients.lock"
    first, second = SharedLock(path), SharedLock(path)

    first.close()
    assert not is_unlocked(path)

    second.close()
    assert is_unlocked(path)


def test_looking_at_a_lock_that_was_never_made_makes_nothing(tmp_path):
    assert is_unlocked(tmp_path / "clients.lock")
    assert list(tmp_path.iterdir()) == []


def test_an_exclusive_lock_is_waited_for_only_so_long(tmp_path):
    path = tmp_path / "server.lock"
    with (
        exclusive(path, timeout_seconds=1),
        pytest.raises(EmbeddedServerError, match=r"server\.lock did not become free in 0\.05 s"),
        exclusive(path, timeout_seconds=0.05),
    ):
        pass
    with exclusive(path, timeout_seconds=0.05):
        assert not is_unlocked(path)


def test_an_inherited_lock_lasts_as_long_as_the_process_that_got_it(tmp_path):
    path = tmp_path / "running.lock"
    with inheritable(path, timeout_seconds=1) as descriptor:
        process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=(descriptor,))
    assert not is_unlocked(path)

    process.communicate(b"\n")

    assert is_unlocked(path)


@pytest.mark.parametrize("kind", ["exclusive", "inheritable"])
def test_a_child_forked_while_a_lock_is_held_does_not_keep_it(tmp_path, kind):
    script = f"""
import os, sys
from pathlib import Path
from rhesis.backend.embedded.locks import {kind}, is_unlocked
read_end, write_end = os.pipe()
forked_end, tell_end = os.pipe()
with {kind}(Path(sys.argv[1]), timeout_seconds=1):
    if (child := os.fork()) == 0:
        os.close(write_end)
        os.write(tell_end, b"x")
        os.read(read_end, 1)
        os._exit(0)
os.read(forked_end, 1)
print(is_unlocked(Path(sys.argv[1])))
os.close(write_end)
os.waitpid(child, 0)
"""
    finished = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "lock")], stdout=subprocess.PIPE, text=True, check=True
    )

    assert finished.stdout == "True\n"


def test_a_lock_file_that_is_a_symlink_is_not_followed(tmp_path):
    (tmp_path / "target").touch()
    (tmp_path / "clients.lock").symlink_to(tmp_path / "target")

    with pytest.raises(OSError, match="symbolic links"):
        SharedLock(tmp_path / "clients.lock")


@pytest.mark.parametrize(("mode", "entered"), [(0o700, False), (0o710, False), (0o701, True), (0o755, True)])
def test_an_account_enters_a_folder_only_with_the_right_bit(tmp_path, mode, entered):
    folder = tmp_path / "folder"
    folder.mkdir()
    folder.chmod(mode)
    opened = [path for path in tmp_path.parents if not path.stat().st_mode & 0o001]

    assert can_enter(STRANGER, folder) == (entered and not opened and bool(tmp_path.stat().st_mode & 0o001))


def test_our_own_account_is_not_asked_for_bits():
    myself = Account(uid=os.geteuid(), gid=os.getegid(), name="me", switched=False)

    assert can_enter(myself, Path("/nonexistent"))
