"""API tokens: shown once, stored as a digest.

A token is random, so a plain SHA-256 keeps it: there is nothing to guess, and a slow hash would only slow requests.
The prefix lets scanners find leaked tokens, the checksum lets junk be refused before the database is asked.
"""

import hashlib
import hmac
import re
import secrets
import string
import zlib
from dataclasses import dataclass, field
from typing import Final

from rhesis.backend.errors import Unauthenticated

PREFIX: Final = "rh_"
SHOWN_LENGTH: Final = 8
_ALPHABET: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
_RANDOM_BITS: Final = 256
_RANDOM_LENGTH: Final = 43
_CHECKSUM_LENGTH: Final = 6
_FORM: Final = re.compile(rf"{PREFIX}[0-9A-Za-z]{{{_RANDOM_LENGTH + _CHECKSUM_LENGTH}}}")


@dataclass(frozen=True)
class MintedToken:
    """A new token: `plain` is shown once, `digest` and `prefix` (its first characters, for display) are stored."""

    plain: str = field(repr=False)
    digest: str = field(repr=False)
    prefix: str


def mint_token() -> MintedToken:
    """Return a new token of 256 random bits."""
    body = PREFIX + _base62(secrets.randbits(_RANDOM_BITS), _RANDOM_LENGTH)
    plain = body + _checksum(body)
    return MintedToken(plain=plain, digest=_digest(plain), prefix=plain[:SHOWN_LENGTH])


def digest_of(plain: str) -> str:
    """Return the digest under which a token is stored (SHA-256, hex).

    Raise `Unauthenticated`, the same as for an unknown token, when it cannot be one of ours.
    """
    if not _FORM.fullmatch(plain):
        raise Unauthenticated
    body, checksum = plain[:-_CHECKSUM_LENGTH], plain[-_CHECKSUM_LENGTH:]
    if not hmac.compare_digest(_checksum(body), checksum):
        raise Unauthenticated
    return _digest(plain)


def same_digest(one: str, other: str) -> bool:
    """Compare two digests in a time that does not depend on where they differ."""
    return hmac.compare_digest(one, other)


def _digest(plain: str) -> str:
    return hashlib.sha256(plain.encode()).hexdigest()


def _checksum(body: str) -> str:
    return _base62(zlib.crc32(body.encode()), _CHECKSUM_LENGTH)


def _base62(number: int, length: int) -> str:
    characters: list[str] = []
    for _ in range(length):
        number, index = divmod(number, len(_ALPHABET))
        characters.append(_ALPHABET[index])
    return "".join(reversed(characters))
