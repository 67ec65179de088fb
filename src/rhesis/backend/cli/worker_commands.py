"""The command lines that start workers."""

import shlex
import sys
from dataclasses import dataclass

from rhesis.backend.settings import get_settings

APPLICATION = "rhesis.backend.worker.app"
LOG_FILE = "celery_worker.log"


@dataclass(frozen=True)
class WorkerKind:
    """What one worker does. Without `queues` it consumes all; with `threads` it waits for endpoints side by side."""

    queues: str | None = None
    threads: bool = False
    concurrency: int | None = None
    name: str | None = None


def worker_command(kind: WorkerKind) -> tuple[str, ...]:
    """Return the command line of a worker of this kind; the settings fill in what it leaves open."""
    settings = get_settings()
    default = settings.execution_concurrency if kind.threads else settings.worker_concurrency
    prefetch = 1 if kind.threads else settings.worker_prefetch_multiplier
    command = [sys.executable, "-m", "celery", "-A", APPLICATION, "worker"]
    command += [f"--loglevel={settings.worker_log_level}", f"--concurrency={kind.concurrency or default}"]
    command += [f"--prefetch-multiplier={prefetch}"]
    command += ["--pool=threads"] if kind.threads else [f"--max-tasks-per-child={settings.worker_max_tasks_per_child}"]
    command += ["-Q", kind.queues] if kind.queues else []
    command += ["-n", kind.name if "@" in kind.name else f"{kind.name}@%h"] if kind.name else []
    return (*command, *shlex.split(settings.worker_options))
