"""How often an address may show a wrong token.

Tokens are too long to guess; what is bounded here is the work that wrong ones cause. Memory is bounded as well: the
address that was quiet for longest is forgotten first.
"""

from collections import OrderedDict, deque
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address
from time import monotonic

ALLOWED_FAILURES = 10
WINDOW_SECONDS = 60.0
_MAX_ADDRESSES = 10_000
_MAX_ACCEPTED = 10_000
# One customer's line usually has all of these.
_IPV6_PREFIX = 64


class TokenAttempts:
    """Counts failed tokens per client address, and remembers which tokens were good.

    Behind a proxy many callers share an address. One whose token was good is not locked out by another whose is not;
    whether it still is good is looked up all the same. One event loop owns an instance: it has no lock.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()
        self._accepted: OrderedDict[str, None] = OrderedDict()

    def seconds_blocked(self, address: str, digest: str | None) -> float:
        """Return how long this address has to wait before this token is looked at; 0 when it need not."""
        if digest is not None and digest in self._accepted:
            return 0.0
        times = self._failures.get(_network(address))
        if times is None or len(times) < ALLOWED_FAILURES:
            return 0.0
        return max(0.0, times[0] + WINDOW_SECONDS - self._clock())

    def note_failure(self, address: str, digest: str | None) -> None:
        """Count a token that was malformed, unknown, expired or revoked."""
        if digest is not None:
            self._accepted.pop(digest, None)
        times = self._failures.setdefault(_network(address), deque(maxlen=ALLOWED_FAILURES))
        times.append(self._clock())
        self._failures.move_to_end(_network(address))
        if len(self._failures) > _MAX_ADDRESSES:
            self._failures.popitem(last=False)

    def note_success(self, digest: str) -> None:
        """Remember that a token was good."""
        self._accepted[digest] = None
        self._accepted.move_to_end(digest)
        if len(self._accepted) > _MAX_ACCEPTED:
            self._accepted.popitem(last=False)


def _network(address: str) -> str:
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return str(parsed)
    mapped = parsed.ipv4_mapped
    return str(mapped) if mapped else str(int(parsed) >> (128 - _IPV6_PREFIX))
