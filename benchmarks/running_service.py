"""A real service to measure: its own database, API and two workers, started by the product's own command."""

import contextlib
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rhesis.backend.cli.api_client import ApiClient

ROOT = Path(__file__).resolve().parents[1]
_START_SECONDS = 60.0


@dataclass(frozen=True)
class Service:
    """A service that answers. `process_id` is the parent of API and workers."""

    api: ApiClient
    process_id: int


@contextlib.contextmanager
def running_service(*, concurrency: int) -> Iterator[Service]:
    """Start everything in `.rhesis/bench`, which is emptied first, and stop it at the end."""
    home = ROOT / ".rhesis" / "bench"
    rhesis = (sys.executable, "-m", "rhesis.backend.cli")
    environment = {
        **os.environ,
        "RHESIS_HOME": str(home),
        "RHESIS_EXECUTION_CONCURRENCY": str(concurrency),
        "RHESIS_ALLOWED_NETWORKS": "127.0.0.0/8",
    }
    environment.pop("DATABASE_URL", None)
    if home.exists():
        subprocess.run((*rhesis, "down"), env=environment, capture_output=True, check=False)
        shutil.rmtree(home)
    process = subprocess.Popen(
        (*rhesis, "up", "--port", "0"), env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        address = _address(process)
        token = (home / "token").read_text().strip()
        with ApiClient(address, token) as api:
            yield Service(api, process.pid)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)


def _address(process: subprocess.Popen[str]) -> str:
    """Return the API's address as `up` prints it, and keep reading so that the pipe never fills."""
    found: queue.Queue[str] = queue.Queue()

    def read() -> None:
        for line in process.stdout or ():
            if "listening on http" in line:
                found.put(line.split("listening on ")[1].strip())

    threading.Thread(target=read, daemon=True).start()
    return found.get(timeout=_START_SECONDS)


@contextlib.contextmanager
def slow_endpoint(seconds: float, folder: Path) -> Iterator[str]:
    """Serve an endpoint that answers after `seconds`, and return its URL."""
    ready = folder / f"endpoint-{seconds}.url"
    ready.unlink(missing_ok=True)
    command = (sys.executable, str(Path(__file__).with_name("slow_endpoint.py")), "--seconds", str(seconds))
    process = subprocess.Popen((*command, "--ready-file", str(ready)))
    try:
        until = time.monotonic() + _START_SECONDS
        while not (ready.is_file() and ready.read_text()):
            if time.monotonic() > until:
                raise TimeoutError("the slow endpoint did not start")
            time.sleep(0.05)
        yield ready.read_text()
    finally:
        process.terminate()
        process.wait(timeout=10)


def make_configuration(api: ApiClient, url: str, tests: int, folder: Path) -> str:
    """Make an endpoint, a set of `tests` tests and a configuration through the API; return the configuration's id."""
    file = folder / f"{tests}.csv"
    with file.open("w", encoding="utf-8") as rows:
        rows.write("prompt,metrics\n")
        rows.writelines(
            f'question {number},"[{{""name"": ""contains"", ""parameters"": {{""value"": ""ok""}}}}]"\n'
            for number in range(tests)
        )
    endpoint = api.post("/endpoints", {"name": "slow", "url": url, "response_mappings": {"output": "$.output"}})
    made = api.upload("/test_sets/import", file, "text/csv", name=f"{tests} tests")
    wanted = {"name": "bench", "endpoint_id": endpoint["id"], "test_set_id": made["test_set"]["id"]}
    return str(api.post("/test_configurations", wanted)["id"])


def timed_run(api: ApiClient, configuration_id: str, *, timeout_seconds: float) -> tuple[float, str]:
    """Execute a configuration; return the seconds from the request to the run's end, and how it ended."""
    began = time.monotonic()
    run_id = api.post(f"/test_configurations/{configuration_id}/execute")["test_run_id"]
    while time.monotonic() - began < timeout_seconds:
        progress = api.get(f"/test_runs/{run_id}/progress")
        if progress["status"] not in {"Queued", "Progress"}:
            return time.monotonic() - began, str(progress["status"])
        time.sleep(0.25)
    raise TimeoutError(f"run {run_id} did not end in {timeout_seconds} s")


def peak_memory_mib(process_id: int) -> dict[str, int]:
    """Return the peak resident memory of each descendant of a process, by what it is (Linux)."""
    peaks: dict[str, int] = {}
    for pid in _descendants(process_id):
        with contextlib.suppress(OSError):
            command = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
            status = Path(f"/proc/{pid}/status").read_text()
            peak = int(status.split("VmHWM:")[1].split()[0]) // 1024
            kind = _kind(command)
            peaks[kind] = max(peak, peaks.get(kind, 0))
    return peaks


def _kind(command: list[str]) -> str:
    words = set(command)
    if "api" in words:
        return "API"
    if "--pool=threads" in words:
        return "execution worker"
    return "default worker" if "worker" in words else "other"


def _descendants(process_id: int) -> Iterator[int]:
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError, ValueError):
                parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
    waiting = [process_id]
    while waiting:
        for child in children.get(waiting.pop(), []):
            waiting.append(child)
            yield child
