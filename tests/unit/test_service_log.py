"""The service's log: constant events with fields, for people or machines, without secrets."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from rhesis.backend.logging import configure_logging


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """Return a stream to log to, and put this process's log back afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield io.StringIO()
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_event_is_one_json_line_with_its_fields(stream: io.StringIO):
    configure_logging("INFO", as_json=True, stream=stream)
    structlog.get_logger("rhesis.part").info("run closed", action="close", run_id="17")
    (line,) = lines(stream)
    assert line["event"] == "run closed"
    assert (line["action"], line["run_id"], line["level"], line["logger"]) == ("close", "17", "info", "rhesis.part")
    assert str(line["timestamp"]).endswith("Z")


def test_the_standard_library_is_rendered_the_same_way(stream: io.StringIO):
    configure_logging("INFO", as_json=True, stream=stream)
    logging.getLogger("kombu").warning("closed %s times", 3, extra={"action": "close"})
    (line,) = lines(stream)
    assert (line["event"], line["action"], line["level"]) == ("closed 3 times", "close", "warning")


def test_the_context_of_a_request_is_on_every_line(stream: io.StringIO):
    configure_logging("INFO", as_json=True, stream=stream)
    with structlog.contextvars.bound_contextvars(request_id="r", organization_id="o"):
        structlog.get_logger().info("one")
        logging.getLogger("other").info("two")
    structlog.get_logger().info("three")
    assert [line.get("organization_id") for line in lines(stream)] == ["o", "o", None]


@pytest.mark.parametrize(
    "name",
    ["token", "auth_token", "password", "Authorization", "cookie", "secret_key", "digest", "database_url", "prompt"],
)
def test_fields_that_are_named_like_secrets_are_blanked(stream: io.StringIO, name: str):
    for as_json in (True, False):
        configure_logging("INFO", as_json=as_json, stream=stream)
        structlog.get_logger().info("event", **{name: "canary"})
        logging.getLogger("other").info("event", extra={name: "canary"})
    assert "canary" not in stream.getvalue()
    assert stream.getvalue().count("***") == 4


def test_lines_below_the_level_are_left_out(stream: io.StringIO):
    configure_logging("warning", as_json=True, stream=stream)
    structlog.get_logger().info("quiet")
    logging.getLogger("other").info("quiet")
    structlog.get_logger().error("loud")
    assert [line["event"] for line in lines(stream)] == ["loud"]


@pytest.mark.parametrize("name", ["httpx2", "httpcore2"])
def test_the_http_client_does_not_log_addresses(stream: io.StringIO, name: str):
    configure_logging("DEBUG", as_json=True, stream=stream)
    logging.getLogger(name).info("GET http://host/?key=canary")
    assert stream.getvalue() == ""


def test_people_get_lines_without_colour_codes_and_machines_json(stream: io.StringIO):
    configure_logging("INFO", stream=stream)
    structlog.get_logger().info("event")
    assert lines(stream)
    configure_logging("INFO", as_json=False, stream=stream)
    structlog.get_logger().info("readable", action="show")
    assert "action=show" in stream.getvalue()
    assert "\x1b" not in stream.getvalue()


def test_setting_it_up_twice_does_not_write_twice(stream: io.StringIO):
    for _ in range(2):
        configure_logging("INFO", as_json=True, stream=stream)
    structlog.get_logger().info("once")
    assert len(lines(stream)) == 1


def test_a_level_that_does_not_exist_is_refused(stream: io.StringIO):
    with pytest.raises(ValueError, match="LOUD"):
        configure_logging("loud", stream=stream)
