"""Secrets leave nothing behind in what an endpoint returns."""

import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rhesis.backend.outgoing.redaction import Redactor, secrets_of_header, secrets_of_values

SECRET = 'sk-"li ve"/ü1'


@pytest.mark.parametrize("spelling", [SECRET, json.dumps(SECRET)[1:-1], quote(SECRET, safe="")])
def test_a_secret_is_replaced_in_every_spelling(spelling: str) -> None:
    assert Redactor([SECRET]).text(f"you sent {spelling}.") == "you sent ***."


def test_a_secret_is_replaced_in_strings_keys_and_numbers() -> None:
    redactor = Redactor(["123456", "s3cret"])
    value = {"s3cret": ["x s3cret y", 99123456, 1.5, True, None]}
    assert redactor.value(value) == {"***": ["x *** y", "99***", 1.5, True, None]}


def test_the_longer_of_two_secrets_is_replaced_first() -> None:
    assert Redactor(["secret", "secret-longer"]).text("secret-longer secret") == "*** ***"


def test_without_secrets_nothing_is_replaced() -> None:
    assert Redactor(["", ""]).text("text") == "text"


@pytest.mark.parametrize(
    ("name", "value", "secrets"),
    [
        ("Authorization", "Bearer abcdef123", {"Bearer abcdef123", "abcdef123"}),
        ("X-Api-Key", "abcdef123", {"abcdef123"}),
        ("Cookie", "session=abcdef123; theme=dark", {"session=abcdef123; theme=dark", "abcdef123"}),
        ("X-Short", "abc", set()),
        ("Authorization", "Bearer ", set()),
        ("Content-Type", "application/json", set()),
        ("Accept", "application/json", set()),
    ],
)
def test_the_credential_in_a_header_is_found(name: str, value: str, secrets: set[str]) -> None:
    assert set(secrets_of_header(name, value)) == secrets


def test_short_values_are_not_told_from_ordinary_words() -> None:
    assert list(secrets_of_values(["12345", "123456"])) == ["123456"]


@given(st.text(min_size=6), st.text(), st.text())
def test_no_secret_survives(secret: str, before: str, after: str) -> None:
    redacted = Redactor([secret]).text(before + secret + after)
    assert secret not in redacted or secret in "***"
