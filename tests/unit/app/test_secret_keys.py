"""Where the keys that encrypt credentials come from."""

import stat

import pytest
from cryptography.fernet import Fernet

from rhesis.backend.app.services.secrets import secret_box
from rhesis.backend.errors import SecretKeyError
from support.database import environment

ROW = {"organization_id": "o", "owner_id": "e"}


def test_the_settings_keys_are_used_the_first_to_seal_and_all_to_open():
    first, second = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    with environment(RHESIS_SECRET_KEYS=second):
        old = secret_box().seal("x", **ROW)
    with environment(RHESIS_SECRET_KEYS=f"{first},{second}"):
        new = secret_box().seal("y", **ROW)
        assert secret_box().open(old, **ROW) == "x"
    with environment(RHESIS_SECRET_KEYS=first):
        assert secret_box().open(new, **ROW) == "y"


def test_with_a_database_url_a_missing_key_is_an_error_and_none_is_made(tmp_path):
    with (
        environment(DATABASE_URL="postgresql://x/y", RHESIS_HOME=str(tmp_path), RHESIS_SECRET_KEYS=None),
        pytest.raises(SecretKeyError, match="RHESIS_SECRET_KEYS is not set"),
    ):
        secret_box()
    assert list(tmp_path.iterdir()) == []


def test_embedded_a_key_is_made_once_for_its_owner_alone(tmp_path):
    with environment(DATABASE_URL=None, RHESIS_HOME=str(tmp_path), RHESIS_SECRET_KEYS=None):
        sealed = secret_box().seal("x", **ROW)
    assert stat.S_IMODE((tmp_path / "secret.key").stat().st_mode) == 0o600
    with environment(DATABASE_URL=None, RHESIS_HOME=str(tmp_path), RHESIS_SECRET_KEYS=None):
        assert secret_box().open(sealed, **ROW) == "x"
