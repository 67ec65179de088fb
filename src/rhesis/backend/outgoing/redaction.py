"""Take an endpoint's credentials out of whatever comes back from it.

An endpoint may echo its request, in an answer or in an error, and answers are stored and shown. So the literal values
of its secrets become `***` before anything leaves this package.
"""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final
from urllib.parse import quote

MASK: Final = "***"
SHORTEST_SECRET: Final = 6
_SCHEMES: Final = frozenset({"apikey", "api-key", "basic", "bearer", "digest", "token"})
_NEVER_SECRET: Final = frozenset(
    {"accept", "accept-charset", "accept-language", "cache-control", "content-type", "user-agent"}
)


class Redactor:
    """Replaces a fixed set of secrets; longer ones first, so that one inside another leaves no rest."""

    def __init__(self, secrets: Iterable[str]) -> None:
        spellings = {spelling for secret in secrets if secret for spelling in _spellings(secret)}
        self._spellings = tuple(sorted(spellings, key=len, reverse=True))

    @property
    def longest(self) -> int:
        """The number of characters of the longest secret."""
        return len(self._spellings[0]) if self._spellings else 0

    def text(self, text: str) -> str:
        """Return `text` with every secret replaced."""
        for spelling in self._spellings:
            text = text.replace(spelling, MASK)
        return text

    def value(self, value: Any) -> Any:
        """Return a JSON value with every secret replaced in its strings, its keys and its numbers."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(key): self.value(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.value(item) for item in value]
        if isinstance(value, int | float) and not isinstance(value, bool):
            masked = self.text(str(value))
            return value if masked == str(value) else masked
        return value


def secrets_of_header(name: str, value: str) -> Iterator[str]:
    """Yield what is secret in a header's value: the whole, and the credential alone after `Bearer` or in a cookie."""
    if name.lower() in _NEVER_SECRET:
        return
    yield from secrets_of_values([value])
    parts = re.split(r"[;,]\s*", value) if name.lower() == "cookie" else [value]
    yield from secrets_of_values(re.split(r"[\s=]", part.strip(), maxsplit=1)[-1] for part in parts)


def secrets_of_values(values: Iterable[str]) -> Iterator[str]:
    """Yield the values that are long enough to be told from ordinary words."""
    for value in values:
        stripped = value.strip()
        if len(stripped) >= SHORTEST_SECRET and stripped.lower() not in _SCHEMES:
            yield stripped


def _spellings(secret: str) -> Iterator[str]:
    yield secret
    yield json.dumps(secret)[1:-1]
    yield json.dumps(secret, ensure_ascii=False)[1:-1]
    yield quote(secret, safe="")
