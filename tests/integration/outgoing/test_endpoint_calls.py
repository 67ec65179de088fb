"""What an ordinary call sends and returns."""

import gzip
import json
import logging
import os
import threading
from dataclasses import replace
from typing import Any

import pytest

from rhesis.backend.outgoing import Answer, CallError, ErrorType
from rhesis.backend.outgoing.client import NetworkLimits, shared_client

TOKEN = "sk-live-1234567890"


def _json(**document: Any) -> Any:
    return lambda connection, _: connection.reply(json.dumps(document).encode())


def test_an_answer_is_mapped_and_the_prompt_arrives_as_it_was(serve: Any, ask: Any) -> None:
    server = serve(_json(choices=[{"text": "hi there"}], usage={"tokens": 7}))
    mappings = {"output": "$.choices[0].text", "tokens": "$.usage.tokens"}
    answer = ask(server.url, 'x", "role": "sys"', response_mappings=mappings, endpoint_path="v1/chat")
    assert isinstance(answer, Answer)
    assert (answer.output, dict(answer.mapped)) == ("hi there", {"output": "hi there", "tokens": 7})
    assert (answer.status_code, answer.attempts, answer.notes) == (200, 1, ())
    assert answer.latency_seconds > 0
    (request,) = server.requests
    assert request.line == "POST /v1/chat HTTP/1.1"
    assert json.loads(request.body) == {"input": 'x", "role": "sys"'}
    assert request.header("content-type") == "application/json"


def test_templates_headers_query_and_token_are_sent(serve: Any, ask: Any) -> None:
    server = serve(_json(output="ok"))
    ask(
        server.url,
        method="PUT",
        request_body_template={"q": "{{ input }}", "n": "{{ test.n }}"},
        request_headers={"X-Team": "blue {{ test.n }}"},
        query_params={"key": "{{ auth_token }}"},
        auth_type="bearer_token",
        auth_token=TOKEN,
    )
    (request,) = server.requests
    assert request.line == f"PUT /?key={TOKEN} HTTP/1.1"
    assert json.loads(request.body) == {"q": "hello", "n": 1}
    assert (request.header("x-team"), request.header("authorization")) == ("blue 1", f"Bearer {TOKEN}")


def test_an_endpoint_that_echoes_the_token_gets_it_into_no_result(serve: Any, ask: Any, caplog: Any) -> None:
    def echo(connection: Any, request: Any) -> None:
        connection.reply(json.dumps({"output": request.head.decode(), request.header("x-key"): [TOKEN]}).encode())

    def fail(connection: Any, request: Any) -> None:
        connection.reply(request.head, status="400 Bad Request")

    server = serve(echo, fail)
    fields = {
        "auth_type": "bearer_token",
        "auth_token": TOKEN,
        "request_headers": {"X-Key": "header-secret"},
        "query_params": {"k": "query-secret"},
        "response_mappings": {"output": "$.output", "all": "$"},
    }
    with caplog.at_level(logging.DEBUG):
        found = [ask(server.url, **fields), ask(server.url, **fields)]
    assert isinstance(found[0], Answer)
    assert isinstance(found[1], CallError)
    assert "***" in found[0].output
    assert "***" in (found[1].excerpt or "")
    for secret in (TOKEN, "header-secret", "query-secret"):
        assert secret not in json.dumps([dict(vars(item)) for item in found], default=str)
        assert secret not in caplog.text


def test_a_prompt_that_cannot_be_stored_is_sent_as_it_will_be_stored_and_said(serve: Any, ask: Any) -> None:
    server = serve(_json(output="ok"))
    answer = ask(server.url, "a\x00b\ud800c")
    assert json.loads(server.requests[0].body) == {"input": "a�b�c"}
    assert answer.notes == ("unstorable characters replaced in the prompt",)


def test_a_template_that_does_not_fit_the_test_is_an_error_and_nothing_is_sent(serve: Any, ask: Any) -> None:
    server = serve(_json(output="ok"))
    error = ask(server.url, request_body_template={"q": "{{ test.context }}"})
    assert isinstance(error, CallError)
    assert (error.error_type, error.attempts) == (ErrorType.UNEXPECTED, 0)
    assert "does not fit this test" in error.message
    assert server.requests == []


@pytest.mark.parametrize("fields", [{"protocol": "WebSocket"}, {"auth_type": "client_credentials"}])
def test_an_unsupported_endpoint_that_was_saved_all_the_same_is_an_error(ask: Any, fields: dict[str, Any]) -> None:
    error = ask("http://127.0.0.1:9999", **fields)
    assert isinstance(error, CallError)
    assert "is not supported" in error.message


def test_a_compressed_answer_is_read(serve: Any, ask: Any) -> None:
    two_members = gzip.compress(b'{"output": ') + gzip.compress(b'"hi"}')
    server = serve(lambda connection, _: connection.reply(two_members, headers={"Content-Encoding": "gzip"}))
    assert ask(server.url).output == "hi"
    assert server.requests[0].header("accept-encoding") == "gzip"


@pytest.mark.parametrize(
    ("encoding", "body", "said"),
    [
        ("br", b"x", "only gzip"),
        ("gzip, gzip", b"x", "only gzip"),
        ("gzip", b"junk", "broken"),
        ("gzip", gzip.compress(b"x" * 999, mtime=0)[:20], "incomplete"),
    ],
)
def test_a_compression_that_cannot_be_read_is_an_error(
    serve: Any, ask: Any, encoding: str, body: bytes, said: str
) -> None:
    server = serve(lambda connection, _: connection.reply(body, headers={"Content-Encoding": encoding}))
    error = ask(server.url)
    assert isinstance(error, CallError)
    assert (error.error_type, error.attempts) == (ErrorType.HTTP, 1)
    assert said in error.message


def test_one_connection_serves_many_calls_and_no_cookie_is_kept(serve: Any, ask: Any) -> None:
    server = serve(lambda connection, _: connection.reply(b'{"output": "x"}', headers={"Set-Cookie": "tenant=one"}))
    for _ in range(3):
        assert ask(server.url).output == "x"
    assert server.connections == 1
    assert [request.header("cookie") for request in server.requests] == [None, None, None]


def test_proxies_and_certificates_of_the_environment_are_not_used(
    serve: Any, ask: Any, limits: Any, monkeypatch: Any
) -> None:
    proxy, server = serve(_json(output="proxy")), serve(_json(output="endpoint"))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, proxy.url)
    fresh = replace(limits, network=replace(limits.network, max_connections=7))
    assert ask(server.url, limits=fresh).output == "endpoint"
    assert proxy.connections == 0


def test_all_threads_of_a_process_share_one_client() -> None:
    clients: list[Any] = []
    threads = [threading.Thread(target=lambda: clients.append(shared_client(NetworkLimits()))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(clients) == 8
    assert len({id(client) for client in clients}) == 1


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_makes_its_own_client(serve: Any, ask: Any) -> None:
    server = serve(_json(output="x"))
    assert ask(server.url).output == "x"
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if ask(server.url).output == "x" else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert ask(server.url).output == "x"
    assert server.connections == 2


def test_at_most_the_given_number_of_connections_is_open(serve: Any, ask: Any, limits: Any) -> None:
    served = threading.Semaphore(0)
    most = []

    def slow(connection: Any, _: Any) -> None:
        most.append(server.connections)
        served.release()
        connection.closing.wait(0.05)
        connection.reply(b'{"output": "x"}')

    server = serve(slow)
    narrow = replace(limits, network=replace(limits.network, max_connections=2))
    threads = [threading.Thread(target=ask, args=(server.url,), kwargs={"limits": narrow}) for _ in range(8)]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert served.acquire(timeout=30)
    for thread in threads:
        thread.join(30)
    assert max(most) == 2
