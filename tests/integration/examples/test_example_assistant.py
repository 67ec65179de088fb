"""The example assistant as a process: repeatable, loopback only, quick enough for a demo, and gone on SIGTERM."""

import csv
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from rhesis.backend.metrics.definitions import MetricContext
from rhesis.backend.metrics.evaluate import evaluate_all

_ASSISTANT = Path(__file__).resolve().parents[3] / "examples" / "assistant"
_CONCURRENCY = 64
_ATTEMPTS = 3

Server = tuple[subprocess.Popen[str], str]
Starter = Callable[..., Server]


@contextmanager
def _running(*arguments: str, **environment: str) -> Iterator[Server]:
    process = subprocess.Popen(
        [sys.executable, str(_ASSISTANT / "server.py"), "--port", "0", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )
    assert process.stdout is not None
    try:
        yield process, process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait(10)
        process.stdout.close()


@pytest.fixture
def start() -> Iterator[Starter]:
    """Start servers that are gone after the test."""
    with ExitStack() as stack:
        yield lambda *arguments, **environment: stack.enter_context(_running(*arguments, **environment))


def _tests() -> list[dict[str, str]]:
    with (_ASSISTANT / "tests.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _ask(client: httpx2.Client, prompt: str) -> httpx2.Response:
    return client.post("/chat", json={"input": prompt})


def _client(url: str, **options: Any) -> httpx2.Client:
    limits = httpx2.Limits(max_connections=_CONCURRENCY)
    return httpx2.Client(base_url=url, trust_env=False, timeout=30, limits=limits, **options)


def _ask_all(url: str, prompts: list[str]) -> list[httpx2.Response]:
    with _client(url) as client, ThreadPoolExecutor(_CONCURRENCY) as pool:
        return list(pool.map(lambda prompt: _ask(client, prompt), prompts))


def _verdict(client: httpx2.Client, test: dict[str, str]) -> tuple[str, set[str]]:
    """Judge one test as a run does: Error without an answer, else Pass or Fail by its metrics."""
    started = time.monotonic()
    for _ in range(_ATTEMPTS):
        response = _ask(client, test["prompt"])
        if response.status_code != 429:
            break
    latency_seconds = time.monotonic() - started
    try:
        mapped = response.raise_for_status().json()
    except (httpx2.HTTPStatusError, ValueError):
        return "Error", set()
    context = MetricContext(
        test["prompt"],
        mapped["output"],
        mapped,
        test["expected_response"] or None,
        latency_seconds,
        response.status_code,
    )
    results = evaluate_all(json.loads(test["metrics"]), context).values()
    assert not any("error" in result for result in results)
    return ("Pass" if all(result["is_successful"] for result in results) else "Fail"), {
        result["class_name"] for result in results
    }


def test_the_three_hundred_tests_give_a_mixed_run_in_time(start: Starter) -> None:
    _, url = start("--seed", "7")
    tests = _tests()
    started = time.monotonic()
    with _client(url) as client, ThreadPoolExecutor(_CONCURRENCY) as pool:
        verdicts = list(pool.map(lambda test: _verdict(client, test), tests))
    assert time.monotonic() - started < 25
    counts = Counter(verdict for verdict, _ in verdicts)
    assert len(tests) == 300
    assert 0.80 <= counts["Pass"] / 300 <= 0.90
    assert 0.07 <= counts["Fail"] / 300 <= 0.13
    assert 0.03 <= counts["Error"] / 300 <= 0.06
    used = set().union(*(names for _, names in verdicts))
    assert used == {"Contains", "NotContains", "Equals", "Regex", "JsonSchema", "JsonPath", "MaxLatency"}


def test_one_seed_gives_the_same_answers_and_another_seed_others(start: Starter) -> None:
    prompts = [test["prompt"] for test in _tests()[:120]]
    seen = []
    for seed in ("7", "7", "8"):
        _, url = start("--seed", seed)
        seen.append([(response.status_code, response.content) for response in _ask_all(url, prompts)])
    assert seen[0] == seen[1]
    assert seen[0] != seen[2]


def test_every_kind_of_trouble_occurs_and_only_a_429_passes_away(start: Starter) -> None:
    _, url = start("--seed", "7")
    prompts = [test["prompt"] for test in _tests()]
    first, second = _ask_all(url, prompts), _ask_all(url, prompts)
    turned_away = [index for index, response in enumerate(first) if response.status_code == 429]
    assert turned_away
    assert all(first[index].headers["retry-after"] == "1" for index in turned_away)
    assert all(second[index].status_code == 200 for index in turned_away)
    failing = [index for index, response in enumerate(first) if response.status_code == 500]
    assert failing
    assert all(second[index].status_code == 500 for index in failing)
    assert any(_is_malformed(response) for response in first)
    slow = [response.elapsed.total_seconds() for response in second if response.elapsed.total_seconds() > 0.3]
    assert slow


def _is_malformed(response: httpx2.Response) -> bool:
    if response.status_code != 200:
        return False
    try:
        response.json()
    except ValueError:
        return True
    return False


def test_an_answer_has_output_model_and_usage(start: Starter) -> None:
    _, url = start()
    with _client(url) as client:
        answers = [_ask(client, f"What is {number}?") for number in range(20)]
        body = next(answer.json() for answer in answers if answer.status_code == 200 and not _is_malformed(answer))
    assert body.keys() == {"output", "model", "usage"}
    assert body["model"] == "example-assistant"


def test_with_a_token_only_its_bearer_is_answered(start: Starter) -> None:
    _, url = start("--token-env", "EXAMPLE_TOKEN", EXAMPLE_TOKEN="open-sesame")
    for headers, expected in [
        ({}, 401),
        ({"Authorization": "Bearer other"}, 401),
        ({"Authorization": "open-sesame"}, 401),
        ({"Authorization": "Bearer open-sesame"}, 422),
    ]:
        with _client(url, headers=headers) as client:
            assert client.post("/chat", json={"no": "input"}).status_code == expected


def test_a_named_but_empty_token_variable_stops_the_start() -> None:
    result = subprocess.run(
        [sys.executable, str(_ASSISTANT / "server.py"), "--token-env", "EXAMPLE_TOKEN"],
        env={**os.environ, "EXAMPLE_TOKEN": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 2
    assert "EXAMPLE_TOKEN" in result.stderr


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"{", 422), (b"[1]", 422), (b'{"input": 1}', 422), (b"[" * 100_000, 422), (b" " * 3_000_000, 413)],
)
def test_a_request_it_cannot_read_is_refused_and_the_next_one_answered(
    start: Starter, body: bytes, status: int
) -> None:
    _, url = start()
    with _client(url) as client:
        assert client.post("/chat", content=body).status_code == status
        assert client.get("/health").text == "ok"


def test_it_listens_on_the_loopback_address_only(start: Starter) -> None:
    _, url = start()
    port = int(url.rpartition(":")[2])
    assert url == f"http://127.0.0.1:{port}"
    with socket.socket() as other, pytest.raises(ConnectionRefusedError):
        other.connect(("127.0.0.2", port))


def test_a_hundred_open_connections_are_answered_together(start: Starter) -> None:
    _, url = start()
    everyone_is_connected = threading.Barrier(120, timeout=30)

    def visit(_number: int) -> int:
        with _client(url) as client:
            client.get("/health")
            everyone_is_connected.wait()
            return client.get("/health").status_code

    with ThreadPoolExecutor(120) as pool:
        assert set(pool.map(visit, range(120))) == {200}


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_cleanly_and_takes_its_ready_file_along(
    start: Starter, tmp_path: Path, signal_number: signal.Signals
) -> None:
    ready_file = tmp_path / "ready"
    process, url = start("--ready-file", str(ready_file))
    with _client(url) as client:
        assert client.get("/health").text == "ok"
    assert ready_file.read_text().strip() == url
    process.send_signal(signal_number)
    assert process.wait(10) == 0
    assert not ready_file.exists()
