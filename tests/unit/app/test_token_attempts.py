"""Wrong tokens are bounded per address, and so is the memory of them."""

from rhesis.backend.app import attempts
from rhesis.backend.app.attempts import ALLOWED_FAILURES, WINDOW_SECONDS, TokenAttempts


class Clock:
    """A clock that stands still until it is moved."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def fail(tried: TokenAttempts, address: str, times: int = ALLOWED_FAILURES) -> None:
    for _ in range(times):
        tried.note_failure(address, None)


def test_an_address_is_blocked_after_ten_failures_within_a_minute():
    tried = TokenAttempts(Clock())
    fail(tried, "192.0.2.1", ALLOWED_FAILURES - 1)
    assert tried.seconds_blocked("192.0.2.1", None) == 0
    fail(tried, "192.0.2.1", 1)
    assert tried.seconds_blocked("192.0.2.1", None) == WINDOW_SECONDS
    assert tried.seconds_blocked("192.0.2.2", None) == 0


def test_the_block_ends_a_minute_after_the_oldest_of_the_last_ten_failures():
    clock = Clock()
    tried = TokenAttempts(clock)
    fail(tried, "192.0.2.1", 1)
    clock.now += 20
    fail(tried, "192.0.2.1", ALLOWED_FAILURES - 1)
    assert tried.seconds_blocked("192.0.2.1", None) == WINDOW_SECONDS - 20
    clock.now += WINDOW_SECONDS - 20
    assert tried.seconds_blocked("192.0.2.1", None) == 0


def test_a_token_that_was_good_is_still_looked_up_from_a_blocked_address():
    tried = TokenAttempts(Clock())
    tried.note_success("good")
    fail(tried, "192.0.2.1")
    assert tried.seconds_blocked("192.0.2.1", "good") == 0
    assert tried.seconds_blocked("192.0.2.1", "other") > 0


def test_a_token_that_ceased_to_be_good_is_forgotten():
    tried = TokenAttempts(Clock())
    tried.note_success("good")
    fail(tried, "192.0.2.1")
    tried.note_failure("192.0.2.1", "good")
    assert tried.seconds_blocked("192.0.2.1", "good") > 0


def test_the_addresses_of_one_ipv6_network_count_together():
    tried = TokenAttempts(Clock())
    for number in range(ALLOWED_FAILURES):
        tried.note_failure(f"2001:db8:1:2::{number:x}", None)
    assert tried.seconds_blocked("2001:db8:1:2:ffff::1", None) > 0
    assert tried.seconds_blocked("2001:db8:1:3::1", None) == 0


def test_an_ipv4_address_written_as_ipv6_is_the_same_address():
    tried = TokenAttempts(Clock())
    fail(tried, "::ffff:192.0.2.1")
    assert tried.seconds_blocked("192.0.2.1", None) > 0
    assert tried.seconds_blocked("::ffff:192.0.2.2", None) == 0


def test_memory_is_bounded_and_the_quietest_address_is_forgotten_first(monkeypatch):
    monkeypatch.setattr(attempts, "_MAX_ADDRESSES", 3)
    monkeypatch.setattr(attempts, "_MAX_ACCEPTED", 3)
    tried = TokenAttempts(Clock())
    for address in ("192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"):
        fail(tried, address)
        tried.note_success(address)
    assert [len(tried._failures), len(tried._accepted)] == [3, 3]
    assert tried.seconds_blocked("192.0.2.1", None) == 0
    assert tried.seconds_blocked("192.0.2.4", None) > 0


def test_a_client_without_an_internet_address_is_counted_by_its_name():
    tried = TokenAttempts(Clock())
    fail(tried, "")
    fail(tried, "testclient")
    assert tried.seconds_blocked("", None) > 0
    assert tried.seconds_blocked("testclient", None) > 0
