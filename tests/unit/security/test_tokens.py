"""Tokens are random, recognisable, and refused before the database is asked when they cannot be ours."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rhesis.backend.errors import Unauthenticated
from rhesis.backend.security import digest_of, mint_token, same_digest


def test_a_minted_token_is_found_by_its_digest() -> None:
    minted = mint_token()
    assert minted.plain.startswith("rh_")
    assert len(minted.plain) == 52
    assert digest_of(minted.plain) == minted.digest == hashlib.sha256(minted.plain.encode()).hexdigest()
    assert minted.prefix == minted.plain[:8]


def test_no_two_tokens_are_alike_and_none_is_printed() -> None:
    minted = [mint_token() for _ in range(100)]
    assert len({token.plain for token in minted}) == 100
    assert minted[0].plain not in repr(minted[0])
    assert minted[0].digest not in repr(minted[0])


@given(st.integers(0, 51), st.characters(codec="ascii"))
def test_a_token_with_any_one_character_changed_is_refused(position: int, character: str) -> None:
    plain = mint_token().plain
    changed = plain[:position] + character + plain[position + 1 :]
    if changed == plain:
        return
    with pytest.raises(Unauthenticated):
        digest_of(changed)


@pytest.mark.parametrize("junk", ["", "rh_", "Bearer x", "rh_" + "0" * 48, "rh_" + "ü" * 49, "x" * 1_000_000])
def test_junk_is_refused_with_one_and_the_same_sentence(junk: str) -> None:
    with pytest.raises(Unauthenticated) as refused:
        digest_of(junk)
    assert str(refused.value) == "A valid token is needed."


def test_a_token_with_a_line_break_behind_it_is_refused() -> None:
    with pytest.raises(Unauthenticated):
        digest_of(mint_token().plain + "\n")


def test_digests_are_compared_whole() -> None:
    assert same_digest("ab", "ab")
    assert not same_digest("ab", "ac")
