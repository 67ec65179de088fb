"""The keys that encrypt stored credentials, from wherever this installation keeps them."""

from functools import lru_cache
from typing import Final

from rhesis.backend import runtime
from rhesis.backend.errors import SecretKeyError
from rhesis.backend.security import SecretBox, load_or_create_key_file
from rhesis.backend.settings import get_settings

KEY_FILE: Final = "secret.key"


def secret_box() -> SecretBox:
    """Return what seals and opens this installation's credentials.

    Keys come from `RHESIS_SECRET_KEYS`, and in embedded mode without it from `secret.key` beside the database, made on
    first use. Raises `SecretKeyError`; call it at start, so that a missing key is found before the first endpoint.
    """
    settings = get_settings()
    if settings.secret_keys:
        return _box(tuple(key.get_secret_value() for key in settings.secret_keys))
    if not settings.is_embedded:
        raise SecretKeyError(
            "RHESIS_SECRET_KEYS is not set, and with DATABASE_URL set no key is made: set it to a Fernet key and keep "
            "that as safe as the database, whose credentials it opens"
        )
    return _box((load_or_create_key_file(runtime.home() / KEY_FILE),))


@lru_cache(maxsize=2)
def _box(keys: tuple[str, ...]) -> SecretBox:
    return SecretBox(keys)
