"""Whatever an endpoint does, a call ends in time, in bounded memory, with an error that says what happened."""

import gzip
import socket
import struct
import time
import tracemalloc
import zlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from rhesis.backend.outgoing import Answer, CallError, ErrorType

MIB = 1_048_576


def _drip_body(connection: Any, _: Any) -> None:
    connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while not connection.closing.wait(0.02):
        connection.send(b"1\r\n \r\n")


def _drip_headers(connection: Any, _: Any) -> None:
    connection.send(b"HTTP/1.1 200 OK\r\n")
    while not connection.closing.wait(0.02):
        connection.send(b"X")


def _endless_interim_answers(connection: Any, _: Any) -> None:
    while not connection.closing.wait(0.01):
        connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")


def _hang_before_headers(connection: Any, _: Any) -> None:
    connection.hang()


def _hang_in_the_body(connection: Any, _: Any) -> None:
    connection.send(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"output"')
    connection.hang()


def _drip_nothing_compressed(connection: Any, _: Any) -> None:
    connection.send(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n")
    connection.send(b"a\r\n" + gzip.compress(b"")[:10] + b"\r\n")
    while not connection.closing.wait(0.02):
        connection.send(b"5\r\n\x00\x00\x00\xff\xff\r\n")


@pytest.mark.parametrize(
    "behaviour",
    [
        _drip_body,
        _drip_headers,
        _endless_interim_answers,
        _hang_before_headers,
        _hang_in_the_body,
        _drip_nothing_compressed,
    ],
)
def test_an_endpoint_that_never_ends_is_cut_off_at_the_time_limit_and_not_asked_again(
    serve: Any, ask: Any, limits: Any, behaviour: Any
) -> None:
    server = serve(behaviour)
    begun = time.monotonic()
    error = ask(server.url, limits=replace(limits, total_seconds=0.5))
    assert 0.4 < time.monotonic() - begun < 5
    assert isinstance(error, CallError)
    assert (error.error_type, error.attempts) == (ErrorType.NETWORK, 1)
    assert error.message == "no complete answer within 0.5 seconds"
    assert len(server.requests) == 1


def test_an_endpoint_that_reads_nothing_is_cut_off_at_the_time_limit(ask: Any, limits: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        begun = time.monotonic()
        error = ask(
            url, "x" * 1_900_000, limits=replace(limits, total_seconds=0.5), request_body_template=["{{ input }}"]
        )
        assert 0.4 < time.monotonic() - begun < 5
    assert isinstance(error, CallError)
    assert error.message == "no complete answer within 0.5 seconds"


def test_a_gigabyte_in_chunks_is_stopped_at_the_limit_in_bounded_memory(serve: Any, ask: Any, limits: Any) -> None:
    sent = []

    def gigabyte(connection: Any, _: Any) -> None:
        connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        chunk = b"100000\r\n" + b"x" * MIB + b"\r\n"
        for _number in range(1_024):
            connection.send(chunk)
            sent.append(MIB)

    server = serve(gigabyte)
    error, peak = _with_peak(lambda: ask(server.url, limits=replace(limits, response_max_bytes=2 * MIB)))
    assert error.message == f"the answer has more than {2 * MIB} bytes"
    assert (error.error_type, error.attempts) == (ErrorType.HTTP, 1)
    assert peak < 16 * MIB
    assert sum(sent) < 64 * MIB


def _gzip_bomb() -> bytes:
    return gzip.compress(b"\x00" * (64 * MIB), 9)


def _gzip_with_endless_end() -> bytes:
    return gzip.compress(b'{"output": "x"}') + b"\x00" * (4 * MIB)


def _gzip_of_nothing() -> bytes:
    header = gzip.compress(b"")[:10]
    return header + zlib.compressobj(0, zlib.DEFLATED, -15).flush(zlib.Z_FULL_FLUSH) + b"\x00\x00\x00\xff\xff" * MIB


@pytest.mark.parametrize("make", [_gzip_bomb, _gzip_with_endless_end, _gzip_of_nothing])
def test_compressed_traps_are_stopped_in_bounded_memory(serve: Any, ask: Any, limits: Any, make: Any) -> None:
    body = make()
    server = serve(lambda connection, _: connection.reply(body, headers={"Content-Encoding": "gzip"}))
    error, peak = _with_peak(lambda: ask(server.url, limits=replace(limits, response_max_bytes=2 * MIB)))
    assert isinstance(error, CallError)
    assert error.error_type == ErrorType.HTTP
    assert peak < 16 * MIB


def _with_peak(call: Any) -> tuple[Any, int]:
    call_once_before_measuring = call()
    assert isinstance(call_once_before_measuring, CallError)
    tracemalloc.start()
    try:
        return call(), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_redirect_is_named_and_not_followed(serve: Any, ask: Any) -> None:
    target = "http://169.254.169.254/latest/meta-data/"
    server = serve(lambda connection, _: connection.reply(b"", status="302 Found", headers={"Location": target}))
    error = ask(server.url)
    assert isinstance(error, CallError)
    assert (error.error_type, error.status_code, error.attempts) == (ErrorType.HTTP, 302, 1)
    assert "redirects are not followed" in error.message
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"<html>no</html>", "not JSON: line 1, column 1"),
        (b"", "the answer is empty"),
        (b"[" * 200_000, "nested too deeply"),
        (b'{"answer": 1}', "no value at $.output"),
    ],
)
def test_an_answer_of_the_wrong_form_is_an_error_that_says_so(serve: Any, ask: Any, body: bytes, said: str) -> None:
    server = serve(lambda connection, _: connection.reply(body))
    error = ask(server.url, response_mappings={"output": "$.output"})
    assert isinstance(error, CallError)
    assert (error.error_type, error.status_code) == (ErrorType.JSON_PARSING, 200)
    assert said in error.message


def test_nan_and_nul_in_an_answer_become_storable_and_are_said(serve: Any, ask: Any) -> None:
    server = serve(lambda connection, _: connection.reply(rb'{"output": "a\u0000b", "n": NaN}'))
    answer = ask(server.url, response_mappings={"output": "$.output", "n": "$.n"})
    assert isinstance(answer, Answer)
    assert dict(answer.mapped) == {"output": "a�b", "n": None}
    assert answer.notes == ("unstorable characters replaced",)


def test_a_failed_status_keeps_its_number_when_its_body_hangs(serve: Any, ask: Any, limits: Any) -> None:
    def hang_in_the_error(connection: Any, _: Any) -> None:
        connection.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 100\r\n\r\nmodel missing")
        connection.hang()

    error = ask(serve(hang_in_the_error).url, limits=replace(limits, total_seconds=0.5))
    assert isinstance(error, CallError)
    assert (error.status_code, error.excerpt) == (400, "model missing")


def _close_at_once(connection: Any, _: Any) -> None:
    connection.socket.shutdown(socket.SHUT_RDWR)


def _reset_in_the_body(connection: Any, _: Any) -> None:
    connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
    connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.socket.close()


def _end_in_the_body(connection: Any, _: Any) -> None:
    connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
    connection.socket.shutdown(socket.SHUT_RDWR)


def _not_http(connection: Any, _: Any) -> None:
    connection.send(b"SSH-2.0-OpenSSH secret-banner\r\n\r\n")
    connection.socket.shutdown(socket.SHUT_RDWR)


def _endless_header(connection: Any, _: Any) -> None:
    connection.send(b"HTTP/1.1 200 OK\r\nX: " + b"a" * (2 * MIB) + b"\r\n\r\n")


def _switch_protocols(connection: Any, _: Any) -> None:
    connection.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")


@pytest.mark.parametrize(
    "behaviour",
    [_close_at_once, _reset_in_the_body, _end_in_the_body, _not_http, _endless_header, _switch_protocols],
)
def test_a_broken_conversation_is_an_error_without_what_was_said_in_it(
    serve: Any, ask: Any, fake_time: Any, behaviour: Any
) -> None:
    error = ask(serve(behaviour).url, pacing=fake_time.pacing())
    assert isinstance(error, CallError)
    assert error.error_type in {ErrorType.NETWORK, ErrorType.HTTP}
    assert "secret" not in error.message
    assert "Traceback" not in error.message


@pytest.fixture
def closed_port() -> Iterator[int]:
    """Return a port on which nobody listens, kept from others while the test runs."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        yield reserved.getsockname()[1]


def test_a_closed_port_is_tried_four_times_and_said(ask: Any, closed_port: int, fake_time: Any) -> None:
    error = ask(f"http://127.0.0.1:{closed_port}", pacing=fake_time.pacing())
    assert isinstance(error, CallError)
    assert (error.error_type, error.attempts, error.status_code) == (ErrorType.NETWORK, 4, None)
    assert "nothing answers" in error.message
    assert error.as_dict()["error"] is True
