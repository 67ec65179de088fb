"""Credentials at rest and API tokens."""

from rhesis.backend.security.secret_box import SecretBox, generate_key, load_or_create_key_file
from rhesis.backend.security.tokens import MintedToken, digest_of, mint_token, same_digest

__all__ = [
    "MintedToken",
    "SecretBox",
    "digest_of",
    "generate_key",
    "load_or_create_key_file",
    "mint_token",
    "same_digest",
]
