"""Wait for what another process does, with a bound."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(look: Callable[[], T], *, within: float, what: str) -> T:
    """Return the first true value of `look`; fail after `within` seconds, naming what was waited for."""
    pause = threading.Event()
    until = time.monotonic() + within
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > until:
            raise AssertionError(f"not within {within} s: {what}")
        pause.wait(0.05)
