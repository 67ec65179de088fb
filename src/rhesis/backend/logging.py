"""The service's own log: one line for each event, with fields, for people or for machines.

An event's text is constant; what varies stands in fields, `action` first. Request id, organization and user come from
the context of the request or task. Prompts, answers, headers and tokens are never logged: callers pass ids, and fields
whose names say that they hold a secret are blanked here in case one does not.
"""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog

_SECRET = re.compile("token|secret|password|authorization|cookie|digest|dsn|_url$|prompt", re.IGNORECASE)
_BLANKED = "***"
# At INFO it writes full addresses with their queries.
_QUIET_LOGGERS = ("httpx2", "httpcore2")


def configure_logging(level: str = "INFO", *, as_json: bool | None = None, stream: TextIO | None = None) -> None:
    """Set up this process's log on `stream` (default: stderr); JSON unless the stream is a terminal.

    Standard-library loggers are rendered the same way. Raises `ValueError` for a level that does not exist.
    """
    target = stream or sys.stderr
    as_json = not target.isatty() if as_json is None else as_json
    shared = _shared_processors()
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(target)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(), *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _blank_secrets, _renderer(as_json)],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in _QUIET_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)


def _shared_processors() -> list[structlog.typing.Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        structlog.processors.UnicodeDecoder(),
    ]


def _renderer(as_json: bool) -> structlog.typing.Processor:  # noqa: FBT001 - the one choice there is
    return structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(colors=False)


def _blank_secrets(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name in event:
        if name != "event" and _SECRET.search(name):
            event[name] = _BLANKED
    return event
