"""A worker that writes its log to a file goes on printing it, for the terminal and for whoever gathers its output.

Celery takes `CELERY_WORKER_LOGFILE` for its own `--logfile`, and writes to the file instead.
"""

import logging
import sys
from typing import Any

from celery.signals import after_setup_logger, after_setup_task_logger

from rhesis.backend.settings import get_settings


@after_setup_logger.connect(weak=False)
@after_setup_task_logger.connect(weak=False)
def print_as_well(logger: logging.Logger, logfile: str | None = None, **_: Any) -> None:
    """Let a logger that writes to the file of the settings print the same lines on stderr."""
    if not logfile or get_settings().worker_log_file is None:
        return
    printer = logging.StreamHandler(sys.__stderr__)
    # The newest is the one that writes to the file.
    printer.setFormatter(logger.handlers[-1].formatter)
    logger.addHandler(printer)
