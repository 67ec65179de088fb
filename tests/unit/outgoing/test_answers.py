"""What is read from a reply, and what is said when nothing can be."""

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from rhesis.backend.outgoing.answer import AnswerUnusable, excerpt_of, read_reply, status_message
from rhesis.backend.outgoing.client import EXCERPT_BYTES, Reply
from rhesis.backend.outgoing.endpoint import EndpointSpec
from rhesis.backend.outgoing.redaction import Redactor

SPEC = EndpointSpec(UUID(int=1), UUID(int=2), "chat", "REST", "https://example.com")
SECRET = "sk-123456"


def _read(body: bytes, *, charset: str | None = None, **fields: Any) -> Any:
    return read_reply(Reply(200, body, charset), replace(SPEC, **fields), Redactor([SECRET]))


def test_the_mapped_output_is_the_answer() -> None:
    found = _read(b'{"a": {"b": "hi"}, "n": 3}', response_mappings={"output": "$.a.b", "n": "$.n"})
    assert found.output == "hi"
    assert found.mapped == {"output": "hi", "n": 3}
    assert found.notes == ()


def test_without_a_mapping_the_field_output_or_else_the_whole_document_is_the_answer() -> None:
    assert _read(b'{"output": "hi", "x": 1}').output == "hi"
    assert _read(b'{"x": 1}').output == '{"x": 1}'
    assert _read(b'"plain"').output == "plain"


def test_nan_and_infinity_become_null_and_are_said() -> None:
    found = _read(
        b'{"output": "hi", "n": [NaN, Infinity, -Infinity]}', response_mappings={"output": "$.output", "n": "$.n"}
    )
    assert found.mapped["n"] == [None, None, None]
    assert found.notes == ("unstorable characters replaced",)


def test_a_nul_and_a_lone_surrogate_become_visible_and_are_said() -> None:
    found = _read(rb'{"output": "a\u0000b\ud800c"}')
    assert found.output == "a�b�c"
    assert found.notes == ("unstorable characters replaced",)


def test_a_null_output_is_an_empty_answer_and_is_said() -> None:
    found = _read(b'{"output": null}')
    assert found.output == ""
    assert found.notes == ("the mapped output is null",)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "empty"),
        (b" \n", "empty"),
        (b"<html>", "line 1, column 1"),
        (b'{"a": 1', "line 1, column 8"),
        (b"\xff\xfe\xfa", "not JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b"9" * 10_000, "too long to read"),
    ],
)
def test_an_answer_that_is_not_json_says_where_it_stops_being(body: bytes, said: str) -> None:
    with pytest.raises(AnswerUnusable, match=said):
        _read(body)


def test_a_mapping_that_finds_nothing_names_its_path() -> None:
    with pytest.raises(AnswerUnusable, match=r"no value at \$\.answer"):
        _read(b'{"output": "hi"}', response_mappings={"output": "$.answer"})


def test_mapped_values_that_are_nested_too_deeply_are_refused() -> None:
    with pytest.raises(AnswerUnusable, match="more than 64 levels"):
        _read(b'{"output": ' + b"[" * 100 + b"]" * 100 + b"}")


def test_secrets_are_replaced_in_the_output_and_in_every_mapped_value() -> None:
    body = b'{"output": "your key is sk-123456", "echo": {"sk-123456": ["sk-123456"]}}'
    found = _read(body, response_mappings={"output": "$.output", "echo": "$.echo"})
    assert found.output == "your key is ***"
    assert found.mapped["echo"] == {"***": ["***"]}


@pytest.mark.parametrize(
    ("body", "charset", "text"),
    [
        ("grün".encode(), None, "grün"),
        ("grün".encode("latin-1"), "ISO-8859-1", "grün"),
        ("grün".encode(), "rot13", "grün"),
        ("grün".encode(), "idna", "grün"),
        ("grün".encode(), "no\x00such", "grün"),
    ],
)
def test_text_is_decoded_as_the_endpoint_says_if_that_is_an_encoding_of_text(
    body: bytes, charset: str | None, text: str
) -> None:
    assert _read(body, charset=charset, response_format="text").output == text


def test_bytes_that_are_not_text_become_visible_and_are_said() -> None:
    found = _read(b"a\xffb", response_format="text")
    assert found.output == "a�b"
    assert found.notes == ("bytes that are not text replaced",)


def test_xml_is_kept_as_text_and_never_parsed() -> None:
    bomb = b'<!DOCTYPE a [<!ENTITY b "bbb">]><a>&b;</a>'
    assert _read(bomb, response_format="xml").output == bomb.decode()


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (500, "the endpoint answered 500 Internal Server Error"),
        (302, "the endpoint answered 302 Found: redirects are not followed, save the final URL in the endpoint"),
        (799, "the endpoint answered 799"),
    ],
)
def test_a_status_is_named(status: int, said: str) -> None:
    assert status_message(status) == said


def test_an_excerpt_is_short_clean_and_without_secrets() -> None:
    body = b"no \x00 sk-123456 " + b"x" * 2_000
    excerpt = excerpt_of(Reply(500, body), Redactor([SECRET]))
    assert excerpt is not None
    assert excerpt.startswith("no � *** xxx")
    assert len(excerpt) == 500
    assert excerpt_of(Reply(500, b""), Redactor([])) is None


def test_a_secret_cut_off_at_the_end_of_an_excerpt_leaves_no_part_of_itself() -> None:
    long_secret = "S" + "abcdefghij" * 100
    body = (long_secret * 20).encode()[:EXCERPT_BYTES]
    excerpt = excerpt_of(Reply(500, body), Redactor([long_secret]))
    assert "abc" not in (excerpt or "")
