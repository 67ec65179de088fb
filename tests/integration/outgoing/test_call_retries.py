"""Which failures are tried again, how often, and what ends the waiting. Only the clock is not real."""

import threading
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from rhesis.backend.outgoing import Answer, CallError, ErrorType, Pacing


def _status(status: str, **headers: str) -> Any:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda connection, _: connection.reply(b"no", status=status, headers=named)


def _good(connection: Any, _: Any) -> None:
    connection.reply(b'{"output": "hi"}')


@pytest.mark.parametrize("status", ["429 Too Many Requests", "502 Bad Gateway", "503 Unavailable", "504 Timeout"])
def test_a_passing_failure_is_tried_again_until_it_passes(serve: Any, ask: Any, fake_time: Any, status: str) -> None:
    server = serve(_status(status), _status(status), _good)
    answer = ask(server.url, pacing=fake_time.pacing())
    assert isinstance(answer, Answer)
    assert (answer.output, answer.attempts) == ("hi", 3)
    assert fake_time.seconds == 1 + 2


@pytest.mark.parametrize("status", ["500 Error", "400 Bad Request", "401 Unauthorized", "404 Not Found", "302 Found"])
def test_a_lasting_failure_is_not_tried_again(serve: Any, ask: Any, fake_time: Any, status: str) -> None:
    server = serve(_status(status), _good)
    error = ask(server.url, pacing=fake_time.pacing())
    assert isinstance(error, CallError)
    assert (error.error_type, error.status_code, error.attempts) == (ErrorType.HTTP, int(status[:3]), 1)
    assert error.excerpt == "no"
    assert len(server.requests) == 1


def test_a_call_is_tried_at_most_four_times(serve: Any, ask: Any, fake_time: Any) -> None:
    server = serve(_status("503 Unavailable"))
    error = ask(server.url, pacing=fake_time.pacing())
    assert isinstance(error, CallError)
    assert (error.status_code, error.attempts, len(server.requests)) == (503, 4, 4)


def test_a_connection_that_breaks_is_opened_again(serve: Any, ask: Any, fake_time: Any) -> None:
    server = serve(lambda connection, _: connection.socket.close(), _good)
    answer = ask(server.url, pacing=fake_time.pacing())
    assert isinstance(answer, Answer)
    assert answer.attempts == 2


@pytest.mark.parametrize(
    ("header", "waited"), [("7", 7.0), ("Fri, 20 Nov 2026 12:00:12 GMT", 12.0), ("3600", 30.0), ("0", 1.0)]
)
def test_retry_after_is_waited_for_up_to_the_limit(
    serve: Any, ask: Any, limits: Any, fake_time: Any, header: str, waited: float
) -> None:
    server = serve(_status("429 Too Many Requests", Retry_After=header), _good)
    now = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)
    answer = ask(server.url, limits=replace(limits, total_seconds=60.0), pacing=fake_time.pacing(now=lambda: now))
    assert answer.attempts == 2
    assert fake_time.seconds == waited


def test_no_wait_reaches_beyond_the_time_limit(serve: Any, ask: Any, limits: Any, fake_time: Any) -> None:
    server = serve(_status("429 Too Many Requests", Retry_After="25"), _good)
    error = ask(server.url, limits=replace(limits, total_seconds=20.0), pacing=fake_time.pacing())
    assert isinstance(error, CallError)
    assert (error.status_code, error.attempts) == (429, 1)
    assert fake_time.seconds == 0


def test_a_cancelled_run_ends_the_waiting(serve: Any, ask: Any, fake_time: Any) -> None:
    server = serve(_status("503 Unavailable", Retry_After="10"), _good)
    error = ask(server.url, pacing=fake_time.pacing(stop=lambda: fake_time.seconds >= 3))
    assert isinstance(error, CallError)
    assert (error.status_code, error.attempts) == (503, 1)
    assert error.message.endswith("(stopped before the next attempt)")
    assert fake_time.seconds == 3


def test_a_cancelled_run_ends_the_waiting_on_the_real_clock_too(serve: Any, ask: Any) -> None:
    cancelled = threading.Event()

    def refuse_and_cancel(connection: Any, _: Any) -> None:
        connection.reply(b"", status="503 Unavailable", headers={"Retry-After": "15"})
        cancelled.set()

    error = ask(serve(refuse_and_cancel).url, pacing=Pacing(stop=cancelled.is_set))
    assert isinstance(error, CallError)
    assert "stopped" in error.message
