"""Passwords are random, hidden, and quoted where they enter a URL."""

import stat
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from rhesis.backend.embedded.credentials import Credentials, libpq_url


def test_every_generation_makes_other_passwords():
    first, second = Credentials.generate(), Credentials.generate()

    assert not set(first.passwords.values()) & set(second.passwords.values())
    assert len(set(first.passwords.values())) == 4


def test_what_is_saved_is_read_back_and_closed_to_others(tmp_path):
    credentials = Credentials.generate()

    credentials.save(tmp_path / "credentials.json")

    assert Credentials.load(tmp_path / "credentials.json", data=tmp_path) == credentials
    assert stat.S_IMODE((tmp_path / "credentials.json").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["credentials.json"]


def test_a_file_that_is_replaced_is_never_open_to_others(tmp_path):
    path = tmp_path / "credentials.json"
    path.touch()
    path.chmod(0o644)

    Credentials.generate().save(path)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_no_password_is_shown():
    credentials = Credentials.generate()

    assert not any(password in repr(credentials) for password in credentials.passwords.values())


@pytest.mark.parametrize("folder", ["/tmp/rhesis-0-abc", '/run/a b/c"d%41/e?f&g=h', "/tmp/ä"])
def test_a_url_survives_any_folder_and_password(folder):
    url = libpq_url("rhesis_app", "p@ss/w:rd?%", database="rhesis", socket_directory=Path(folder), port=5432)

    assert conninfo_to_dict(url) == {
        "user": "rhesis_app",
        "password": "p@ss/w:rd?%",
        "dbname": "rhesis",
        "host": folder,
        "port": "5432",
    }
