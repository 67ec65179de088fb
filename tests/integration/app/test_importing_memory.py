"""A hundred thousand tests go in and out of a server whose memory hardly grows."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator

import httpx2
import pytest

from support.api import bearer

ROWS = 100_000
ALLOWED_GROWTH_MIB = 60
BOUNDARY = "frontier"
# Serves until its standard input ends; for each line it is sent it says how large it has ever been, in MiB.
SERVER = """
import resource, socket, sys, threading
import uvicorn
from rhesis.backend.app.main import create_app
listener = socket.create_server(("127.0.0.1", 0))
server = uvicorn.Server(uvicorn.Config(create_app(), lifespan="off", log_config=None, access_log=False))
threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True).start()
print(listener.getsockname()[1], flush=True)
unit = 2**20 if sys.platform == "darwin" else 2**10
for _ in sys.stdin:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit, flush=True)
"""


class ServerProcess:
    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.url = f"http://127.0.0.1:{int(process.stdout.readline())}"

    def peak_mib(self) -> float:
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())


@pytest.fixture
def server(database) -> Iterator[ServerProcess]:
    with subprocess.Popen(
        [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield ServerProcess(process)
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        process.wait(10)


def form(rows: int) -> Iterator[bytes]:
    yield f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="tests.csv"\r\n\r\n'.encode()
    yield b"id,prompt,expected_response,metrics,priority\r\n"
    metrics = json.dumps([{"name": "contains", "parameters": {"value": "ok"}}]).replace('"', '""')
    for start in range(0, rows, 1000):
        lines = (
            f'identifier-{n},"prompt {n}\n{"x" * 400}",ok {n},"{metrics}",{n % 7}\r\n'
            for n in range(start, start + 1000)
        )
        yield "".join(lines).encode()
    yield f"\r\n--{BOUNDARY}--\r\n".encode()


def upload(server: ServerProcess, headers: dict[str, str], rows: int) -> str:
    response = httpx2.post(
        f"{server.url}/test_sets/import?name=large",
        content=form(rows),
        headers=headers | {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"},
        timeout=100,
    )
    assert response.status_code == 201, response.text
    assert response.json()["tests"] == rows
    return response.json()["test_set"]["id"]


def download(server: ServerProcess, headers: dict[str, str], test_set_id: str, **query: str) -> int:
    lines = 0
    with httpx2.stream(
        "GET", f"{server.url}/test_sets/{test_set_id}/export", params=query, headers=headers, timeout=100
    ) as response:
        for chunk in response.iter_bytes():
            lines += chunk.count(b"\r\n" if query["format"] == "csv" else b"\n")
    return lines


@pytest.mark.timeout(300)
def test_importing_and_exporting_a_hundred_thousand_tests_needs_little_memory(server, database, tenant):
    headers = bearer(database, tenant)
    small = upload(server, headers, 1000)
    download(server, headers, small, format="csv")
    before = server.peak_mib()
    large = upload(server, headers, ROWS)
    after_import = server.peak_mib()
    assert download(server, headers, large, format="csv") == ROWS + 1
    after_export = server.peak_mib()
    assert after_import - before < ALLOWED_GROWTH_MIB
    assert after_export - before < ALLOWED_GROWTH_MIB
