"""Regular expressions of users, run in bounded time.

Python's own engine can need years for `(a+)+$` on a short text, in a thread that nothing can stop. RE2 needs time
proportional to text times pattern, so both factors are bounded here and no caller can hold a worker for long.
"""

from functools import lru_cache
from typing import Any, Final

import re2

from rhesis.backend.domain.text import clean_text
from rhesis.backend.errors import InvalidInput

MAX_PATTERN_LENGTH: Final = 1_000
MAX_MATCHING_STEPS: Final = 500_000_000
"""Program size times characters: about three seconds for the worst pattern, nothing for an ordinary one."""

_REASONS: Final = {
    "invalid perl operator": (
        "look-around, named back-references and atomic groups are not supported, because they cannot be matched in "
        "bounded time"
    ),
    "invalid escape sequence: \\Z": "write \\z for the end of the text",
    "invalid escape sequence": "back-references and unknown escapes are not supported",
    "bad repetition operator": "possessive and doubled repetitions are not supported",
    "invalid repetition size": "a repetition may be at most 1000 in all, nested ones multiplied",
    "pattern too large": "it becomes too large when its repetitions are written out",
}


class SafePattern:
    """A compiled pattern with the `search` and `fullmatch` of `re`, refused when a match could take too long."""

    __slots__ = ("_compiled", "_program_size", "text")

    def __init__(self, text: str, compiled: Any) -> None:
        self.text = text
        self._compiled = compiled
        self._program_size: int = compiled.programsize

    def search(self, subject: str) -> Any:
        """Return the first match anywhere in `subject`, or None."""
        return self._compiled.search(self._bounded(subject))

    def fullmatch(self, subject: str) -> Any:
        """Return the match of the whole of `subject`, or None."""
        return self._compiled.fullmatch(self._bounded(subject))

    def steps_for(self, subject: str) -> int:
        """Return the most steps that matching `subject` may take: program size times characters."""
        return self._program_size * len(subject)

    def _bounded(self, subject: str) -> str:
        storable, _ = clean_text(subject)
        if self.steps_for(subject) > MAX_MATCHING_STEPS:
            raise InvalidInput(
                f"the pattern is too large for a text of {len(subject)} characters: shorten its repetitions",
                code="pattern_too_expensive",
            )
        return storable


@lru_cache(maxsize=256)
def compile_pattern(text: str) -> SafePattern:
    """Return `text` as a pattern that matches in bounded time.

    Raise `InvalidInput` (code `invalid_pattern`) with the reason when RE2 cannot run it: look-around and
    back-references are refused here, at save, and not when a run is under way.

    >>> bool(compile_pattern("(a+)+$").search("aaaa!"))
    False
    """
    if len(text) > MAX_PATTERN_LENGTH:
        raise InvalidInput(
            f"the pattern has {len(text)} characters, at most {MAX_PATTERN_LENGTH} are accepted", code="invalid_pattern"
        )
    options = re2.Options()
    options.log_errors = False
    try:
        return SafePattern(text, re2.compile(text, options=options))
    except UnicodeEncodeError as error:
        raise InvalidInput("the pattern holds characters that are not text", code="invalid_pattern") from error
    except re2.error as error:
        raise InvalidInput(f"the pattern cannot be used: {_reason(error)}", code="invalid_pattern") from error


def _reason(error: Exception) -> str:
    detail = error.args[0] if error.args else ""
    said = detail.decode(errors="replace") if isinstance(detail, bytes) else str(detail)
    for beginning, reason in _REASONS.items():
        if said.startswith(beginning):
            return reason
    return said
