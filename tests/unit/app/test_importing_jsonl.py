"""What a JSONL file may hold, and what is said about one that cannot be imported."""

import io
import json

import pytest

from rhesis.backend.app.services.importing import ImportLimits, Row, RowError, parse_jsonl

LIMITS = ImportLimits(prompt_max_bytes=1024, max_rows=100)


def parsed(content: bytes, limits: ImportLimits = LIMITS) -> list[Row | RowError]:
    source = io.BytesIO(content)
    return list(parse_jsonl(iter(lambda: source.read(7), b""), limits))


def message(line: bytes) -> str:
    found = parsed(line + b"\n" + b'{"prompt": "next"}')
    assert isinstance(found[0], RowError), found
    assert found[1] == Row(2, "next")
    return found[0].message


def test_every_key_reaches_its_field():
    values = {
        "id": "1",
        "prompt": "Say\nhi",
        "expected_response": "hi",
        "behaviour": "b",
        "metrics": ["contains"],
        "priority": 7,
        "language_code": "en",
    }
    values["metrics"] = [{"name": "max_latency", "parameters": {"seconds": 2}}]
    assert parsed(json.dumps(values).encode()) == [
        Row(1, "Say\nhi", "1", "hi", "b", [{"name": "max_latency", "parameters": {"seconds": 2}}], 7, "en")
    ]


def test_null_and_empty_values_count_as_absent():
    line = b'{"prompt": "x", "id": null, "expected_response": "", "metrics": null, "priority": null}'
    assert parsed(line) == [Row(1, "x")]


def test_a_byte_order_mark_crlf_and_empty_lines_do_no_harm():
    assert parsed(b'\xef\xbb\xbf{"prompt": "a"}\r\n\r\n{"prompt": "b"}\r\n') == [Row(1, "a"), Row(3, "b")]


def test_line_separators_of_unicode_inside_a_text_end_no_line():
    assert parsed('{"prompt": "a\u2028b\x85c"}'.encode()) == [Row(1, "a\u2028b\x85c")]


@pytest.mark.parametrize("escape", ["\\u0000", "\\ud800"])
def test_characters_that_cannot_be_stored_are_replaced_visibly_and_noted(escape: str):
    assert parsed(f'{{"prompt": "a{escape}b"}}'.encode()) == [Row(1, "a\ufffdb", replaced=True)]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"not json", "not valid JSON"),
        (b"[1]", "not a JSON object"),
        (b'{"prompt": "x", "organization_id": "y"}', "unknown key 'organization_id'"),
        (b'{"id": "1"}', "prompt is empty"),
        (b'{"prompt": 5}', "prompt is not a text"),
        (b'{"prompt": ["x"]}', "prompt is not a text"),
        (b'{"prompt": "x", "priority": true}', "priority is not a whole number"),
        (b'{"prompt": "x", "priority": 1.5}', "priority is not a whole number"),
        (b'{"prompt": "x", "priority": ' + b"9" * 5000 + b"}", "not valid JSON"),
        (b'{"prompt": "x", "priority": NaN}', "NaN is not JSON"),
        (b'{"prompt": "x", "metrics": {}}', "metrics is not a JSON list"),
        (b'{"prompt": "x", "metrics": [5]}', "metrics[0]"),
        (b'{"prompt": "caf\xe9"}', "not UTF-8"),
        (b'{"prompt": ' + b"[" * 10_000, "nested too deeply"),
        (b'{"prompt": "' + b"x" * 1025 + b'"}', "prompt has 1025 bytes, at most 1024"),
        (b'{"prompt": "' + b"x" * 1_000_000 + b'"}', "the line is longer than"),
    ],
)
def test_a_bad_line_is_refused_with_the_reason_and_the_next_one_is_read(line: bytes, reason: str):
    assert reason in message(line)


def test_a_file_without_tests_is_refused():
    assert parsed(b"\n \n") == [RowError(1, "the file holds no tests")]
