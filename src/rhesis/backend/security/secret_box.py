"""Encrypt credentials for storage, bound to the row they belong to.

A sealed value carries its organization and its owner inside the ciphertext, so a value copied into another row, by a
bug or by somebody who can write to the table, does not open there.
"""

import json
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import UUID

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from rhesis.backend.errors import SecretKeyError

_OTHERS_MAY = stat.S_IRWXG | stat.S_IRWXO


class SecretBox:
    """Seals with the first key and opens with any of them, so that keys can be exchanged one after the other."""

    __slots__ = ("_fernet",)

    def __init__(self, keys: Sequence[str]) -> None:
        if not keys:
            raise SecretKeyError("no key to encrypt credentials with: set RHESIS_SECRET_KEYS")
        self._fernet = MultiFernet([_fernet(key, position) for position, key in enumerate(keys, start=1)])

    def seal(self, value: str, *, organization_id: UUID | str, owner_id: UUID | str) -> str:
        """Return `value` encrypted for this row alone; sealing twice gives two different texts.

        >>> box = SecretBox([generate_key()])
        >>> box.open(box.seal("s3cret", organization_id="o", owner_id="e"), organization_id="o", owner_id="e")
        's3cret'
        """
        plain = json.dumps([str(organization_id), str(owner_id), value])
        return self._fernet.encrypt(plain.encode()).decode()

    def open(self, sealed: str, *, organization_id: UUID | str, owner_id: UUID | str) -> str:
        """Return what was sealed for this row.

        Raise `SecretKeyError`, which names the owner and nothing else, when no key fits or it was sealed for another.
        """
        try:
            sealed_organization, sealed_owner, value = json.loads(self._fernet.decrypt(sealed.encode()))
        except (InvalidToken, ValueError) as error:
            raise SecretKeyError(
                f"the credentials of endpoint {owner_id} cannot be decrypted: put the key they were stored with into "
                "RHESIS_SECRET_KEYS, or store them again",
                subject_id=str(owner_id),
            ) from error
        if (sealed_organization, sealed_owner) != (str(organization_id), str(owner_id)):
            raise SecretKeyError(
                f"the credentials of endpoint {owner_id} were stored for another endpoint: store them again",
                subject_id=str(owner_id),
            )
        return str(value)

    def rotate(self, sealed: str) -> str:
        """Return the same secret sealed with the first key; raise `SecretKeyError` when no key fits."""
        try:
            return self._fernet.rotate(sealed.encode()).decode()
        except InvalidToken as error:
            raise SecretKeyError("a stored credential fits none of the keys in RHESIS_SECRET_KEYS") from error


def _fernet(key: str, position: int) -> Fernet:
    try:
        return Fernet(key.strip())
    except ValueError as error:
        raise SecretKeyError(
            f"key {position} in RHESIS_SECRET_KEYS is not a key: it must be 32 random bytes in URL-safe base64"
        ) from error


def generate_key() -> str:
    """Return a new random key."""
    return Fernet.generate_key().decode()


def load_or_create_key_file(path: Path) -> str:
    """Return the key in `path`, made with mode 0600 if there is none; of several processes at once one makes it.

    Raise `SecretKeyError` when the file holds no key, or others than its owner may read or write it.
    """
    if not path.exists():
        _create_key_file(path)
    if path.stat().st_mode & _OTHERS_MAY:
        raise SecretKeyError(f"others may read the key file {path}: run chmod 600 {path}")
    key = path.read_text(encoding="ascii", errors="replace").strip()
    try:
        Fernet(key)
    except ValueError as error:
        raise SecretKeyError(f"the key file {path} holds no key: restore it from a backup") from error
    return key


def _create_key_file(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Written aside and then linked, which fails if the name exists: nobody ever reads a file that is half written.
    with TemporaryDirectory(dir=path.parent, prefix=".key-") as folder:
        draft = Path(folder) / "key"
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(generate_key() + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            return
