"""Credentials open for their own row and key alone."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rhesis.backend.errors import SecretKeyError
from rhesis.backend.security import SecretBox, generate_key, load_or_create_key_file

KEY = generate_key()
BOX = SecretBox([KEY])
ROW = {"organization_id": "org-1", "owner_id": "endpoint-1"}


@given(st.text())
def test_what_was_sealed_opens_again(value: str) -> None:
    sealed = BOX.seal(value, **ROW)
    assert BOX.open(sealed, **ROW) == value
    assert BOX.seal(value, **ROW) != sealed


def test_the_sealed_text_shows_neither_the_secret_nor_the_row() -> None:
    sealed = BOX.seal("s3cret", **ROW)
    assert "s3cret" not in sealed
    assert "endpoint-1" not in sealed


@pytest.mark.parametrize("other", [{"organization_id": "org-2"}, {"owner_id": "endpoint-2"}])
def test_a_value_copied_into_another_row_does_not_open(other: dict[str, str]) -> None:
    sealed = BOX.seal("s3cret", **ROW)
    with pytest.raises(SecretKeyError, match="stored for another endpoint"):
        BOX.open(sealed, **{**ROW, **other})


def test_a_wrong_key_names_the_endpoint_and_nothing_secret() -> None:
    sealed = BOX.seal("s3cret", **ROW)
    with pytest.raises(SecretKeyError, match="endpoint-1") as refused:
        SecretBox([generate_key()]).open(sealed, **ROW)
    assert refused.value.subject_id == "endpoint-1"
    for hidden in (KEY, sealed, "s3cret", "org-1"):
        assert hidden not in str(refused.value)


@pytest.mark.parametrize("sealed", ["", "junk", "gAAAAA", "ü"])
def test_a_damaged_value_is_the_same_error_as_a_wrong_key(sealed: str) -> None:
    with pytest.raises(SecretKeyError, match="cannot be decrypted"):
        BOX.open(sealed, **ROW)


def test_a_changed_value_does_not_open() -> None:
    sealed = BOX.seal("s3cret", **ROW)
    changed = sealed[:30] + ("A" if sealed[30] != "A" else "B") + sealed[31:]
    with pytest.raises(SecretKeyError):
        BOX.open(changed, **ROW)


def test_the_first_key_seals_and_every_key_opens() -> None:
    new_key = generate_key()
    both = SecretBox([new_key, KEY])
    assert both.open(BOX.seal("old", **ROW), **ROW) == "old"
    assert SecretBox([new_key]).open(both.seal("new", **ROW), **ROW) == "new"


def test_after_rotation_the_old_key_is_not_needed() -> None:
    new_key = generate_key()
    rotated = SecretBox([new_key, KEY]).rotate(BOX.seal("s3cret", **ROW))
    assert SecretBox([new_key]).open(rotated, **ROW) == "s3cret"
    with pytest.raises(SecretKeyError):
        SecretBox([generate_key()]).rotate(rotated)


@pytest.mark.parametrize("keys", [[], ["not-a-key"], [KEY, ""]])
def test_keys_that_are_none_are_refused_without_showing_them(keys: list[str]) -> None:
    with pytest.raises(SecretKeyError) as refused:
        SecretBox(keys)
    assert "not-a-key" not in str(refused.value)


def test_a_key_file_is_made_once_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "home" / "secret.key"
    key = load_or_create_key_file(path)
    assert load_or_create_key_file(path) == key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["secret.key"]
    SecretBox([key])


def test_of_many_that_make_the_key_file_at_once_all_get_the_same_key(tmp_path: Path) -> None:
    path = tmp_path / "secret.key"
    with ThreadPoolExecutor(16) as pool:
        keys = list(pool.map(lambda _: load_or_create_key_file(path), range(64)))
    assert len(set(keys)) == 1


def test_a_key_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "secret.key"
    load_or_create_key_file(path)
    path.chmod(0o640)
    with pytest.raises(SecretKeyError, match="chmod 600"):
        load_or_create_key_file(path)


@pytest.mark.parametrize("content", [b"", b"not a key", b"\xff\xfe"])
def test_a_key_file_without_a_key_is_refused_and_not_overwritten(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "secret.key"
    path.touch(mode=0o600)
    path.write_bytes(content)
    with pytest.raises(SecretKeyError, match="holds no key"):
        load_or_create_key_file(path)
    assert path.read_bytes() == content
