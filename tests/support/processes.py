"""Real worker processes: started, waited for by their heartbeat, stopped or killed with everything they forked."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from support.database import TestDatabase
from support.waiting import eventually


@dataclass
class Worker:
    """A running worker. `log` is what it printed."""

    process: subprocess.Popen[bytes]
    name: str
    log: Path

    def kill(self) -> None:
        """End the worker and its children at once, as the kernel does when memory is short."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(timeout=30)

    def kill_children(self) -> None:
        """End the worker's pool processes at once and leave the worker to replace them."""
        found = subprocess.run(["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True, check=True)
        for child in found.stdout.split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(child), signal.SIGKILL)

    def stop(self) -> int:
        """Ask the worker to end, and return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout=40)
        except subprocess.TimeoutExpired:
            self.kill()
            raise


@contextlib.contextmanager
def celery_worker(
    database: TestDatabase, folder: Path, *options: str, name: str = "worker", **variables: str
) -> Iterator[Worker]:
    """Start a worker as the documents do, on the test's database, and stop it at the end."""
    log = folder / f"{name}.log"
    command = [
        sys.executable,
        "-m",
        "celery",
        "-A",
        "rhesis.backend.worker.app",
        "worker",
        "--loglevel=INFO",
        "-n",
        f"{name}@test",
        "--without-gossip",
        "--without-mingle",
        *options,
    ]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
            start_new_session=True,
            env={**os.environ, **variables},
        )
    worker = Worker(process, f"{name}@test", log)
    try:
        eventually(lambda: _has_beaten(database, worker), within=60, what=f"a heartbeat of {worker.name}, log {log}")
        yield worker
    finally:
        worker.kill()


def _has_beaten(database: TestDatabase, worker: Worker) -> bool:
    if worker.process.poll() is not None:
        raise AssertionError(f"the worker ended with {worker.process.returncode}: {worker.log.read_text()[-3000:]}")
    return bool(database.fetch("SELECT 1 FROM rhesis.worker_heartbeat WHERE name = %s", worker.name))
