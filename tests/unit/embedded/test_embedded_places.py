"""Where the home, the socket and the outside place lie."""

import os
from pathlib import Path

import pytest

from rhesis.backend.embedded.account import Account
from rhesis.backend.embedded.places import (
    SOCKET_PATH_BYTES,
    find_home,
    fingerprint,
    holds_socket,
    is_outside_folder,
    is_own_socket_folder,
    is_usable_socket_folder,
    outside_folders,
    socket_folders,
)

HOME = Path("/somewhere/project/.rhesis")
ELSEWHERE = Path("/nonexistent/site-packages/rhesis/backend/runtime.py")
MYSELF = Account(uid=os.geteuid(), gid=os.getegid(), name="me", switched=False)


def test_a_given_home_is_used_as_it_is(tmp_path):
    (tmp_path / ".rhesis").mkdir()

    assert find_home(tmp_path, tmp_path / "other", ELSEWHERE) == tmp_path / "other"


def test_the_nearest_folder_upwards_with_a_home_wins(tmp_path):
    deep = tmp_path / "a" / "b" / "c"
    deep.mkdir(parents=True)
    (tmp_path / ".rhesis").mkdir()
    (tmp_path / "a" / ".rhesis").mkdir()

    assert find_home(deep, None, ELSEWHERE) == tmp_path / "a" / ".rhesis"


def test_a_file_of_that_name_is_no_home(tmp_path):
    (tmp_path / ".rhesis").mkdir()
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / ".rhesis").touch()

    assert find_home(tmp_path / "a", None, ELSEWHERE) == tmp_path / ".rhesis"


def test_without_a_home_upwards_the_checkout_of_the_package_is_taken(tmp_path):
    checkout, elsewhere = tmp_path / "checkout", tmp_path / "elsewhere"
    package_file = checkout / "src" / "rhesis" / "backend" / "runtime.py"
    package_file.parent.mkdir(parents=True)
    elsewhere.mkdir()
    (checkout / "pyproject.toml").write_text('[project]\nname = "rhesis-backend"\n')

    assert find_home(elsewhere, None, package_file) == checkout / ".rhesis"


@pytest.mark.parametrize("content", ['[project]\nname = "other"\n', "no toml [", 'project = "rhesis-backend"\n', ""])
def test_another_projects_file_is_no_checkout_of_ours(tmp_path, content):
    checkout, elsewhere = tmp_path / "checkout", tmp_path / "elsewhere"
    package_file = checkout / "site-packages" / "runtime.py"
    package_file.parent.mkdir(parents=True)
    elsewhere.mkdir()
    (checkout / "pyproject.toml").write_text(content)

    assert find_home(elsewhere, None, package_file) == elsewhere / ".rhesis"


@pytest.mark.needs_root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: plants a folder of another account")
def test_a_home_that_a_stranger_planted_in_a_common_folder_is_passed_by(tmp_path):
    (tmp_path / ".rhesis").mkdir()
    os.chown(tmp_path / ".rhesis", 2, 2)
    (tmp_path / "project").mkdir()

    assert find_home(tmp_path / "project", None, ELSEWHERE) == tmp_path / "project" / ".rhesis"


def test_a_fingerprint_has_twelve_hex_digits_and_differs_for_every_home():
    homes = [Path(f"/project/{number}/.rhesis") for number in range(100)]

    fingerprints = {fingerprint(home) for home in homes}

    assert len(fingerprints) == 100
    assert all(len(text) == 12 and int(text, 16) >= 0 for text in fingerprints)


def test_the_socket_prefers_the_runtime_folder_and_falls_back_to_a_folder_of_the_user():
    digits = fingerprint(HOME)

    assert socket_folders(HOME, uid=7, runtime_directory=Path("/run/user/7")) == (
        Path(f"/run/user/7/rhesis-{digits}"),
        Path(f"/tmp/rhesis-7-{digits}"),
    )
    assert socket_folders(HOME, uid=7, runtime_directory=None) == (Path(f"/tmp/rhesis-7-{digits}"),)


def test_every_name_of_this_homes_socket_folder_is_known_and_no_other():
    for folder in socket_folders(HOME, uid=7, runtime_directory=Path("/run/user/7")):
        assert is_own_socket_folder(folder, HOME)
        assert not is_own_socket_folder(folder, Path("/other/.rhesis"))
    assert not is_own_socket_folder(Path("/etc"), HOME)


def test_a_socket_path_may_be_as_long_as_the_kernel_allows_and_not_a_byte_longer():
    room = SOCKET_PATH_BYTES - len("/.s.PGSQL.5432")

    assert holds_socket(Path("/" + "x" * (room - 1)))
    assert not holds_socket(Path("/" + "x" * room))
    assert not holds_socket(Path("/" + "ä" * (room // 2 + 1)))


def test_a_folder_with_a_comma_would_be_two_hosts_to_a_client():
    assert not holds_socket(Path("/run/a,b"))


def test_a_runtime_folder_that_others_may_write_to_is_not_used(tmp_path):
    tmp_path.chmod(0o777)
    assert not is_usable_socket_folder(tmp_path / "rhesis-0", MYSELF)

    tmp_path.chmod(0o700)
    assert is_usable_socket_folder(tmp_path / "rhesis-0", MYSELF)


def test_a_runtime_folder_that_is_missing_or_a_link_is_not_used(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path)

    assert not is_usable_socket_folder(tmp_path / "missing" / "rhesis-0", MYSELF)
    assert not is_usable_socket_folder(tmp_path / "link" / "rhesis-0", MYSELF)


def test_the_outside_place_is_named_after_the_home():
    digits = fingerprint(HOME)

    assert outside_folders(HOME) == (Path(f"/var/lib/rhesis/{digits}"), Path(f"/var/tmp/rhesis-{digits}"))


@pytest.mark.parametrize("folder", ["/", "/etc", "/root", "/var/tmp", "/var/lib", "/var/lib/rhesis/missing"])
def test_no_other_folder_passes_for_an_outside_place(folder):
    assert not is_outside_folder(Path(folder))
