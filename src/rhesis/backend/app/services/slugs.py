"""Short names for addresses, made from the names people give."""

import re
import secrets
import unicodedata
from collections.abc import Iterator
from typing import Final

_LONGEST: Final = 80
_WITHOUT_LETTERS: Final = "set"
_ATTEMPTS: Final = 5


def slug_of(name: str) -> str:
    """Return `name` in lower-case ASCII letters, digits and single hyphens; never empty.

    >>> slug_of("  Überprüfung: Größe & Preis ")
    'uberprufung-groe-preis'
    >>> slug_of("安全")
    'set'
    """
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:_LONGEST].strip("-") or _WITHOUT_LETTERS


def slug_candidates(name: str) -> Iterator[str]:
    """Yield the slug of `name`, then the same with random endings.

    Which slugs are taken cannot be looked up, because others may have sets one cannot see; so each is tried.
    """
    base = slug_of(name)
    yield base
    for _ in range(_ATTEMPTS):
        yield f"{base}-{secrets.token_hex(4)}"
