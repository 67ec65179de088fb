"""Every error the library raises on purpose.

    ChordkeeperError
    └── InvalidValue        a value that cannot be true, such as more finished members than members (also a ValueError)

Each message says what happened, to what, and what to do next. No message carries a payload or a password.
"""


class ChordkeeperError(Exception):
    """Something chordkeeper refuses or cannot do, said in one line."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip())


class InvalidValue(ChordkeeperError, ValueError):
    """A value cannot be true; nothing was done with it."""
