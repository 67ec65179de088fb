"""Make foreign text storable without hiding that it was changed.

PostgreSQL refuses NUL in text, lone surrogates in UTF-8 and an escaped NUL in jsonb; JSON knows no NaN or Infinity. A
prompt, an answer or a header may hold any of them, so each becomes U+FFFD (or null), visibly, and the caller is told.
"""

import math
import re
from typing import Any

REPLACEMENT = "�"
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def clean_text(text: str) -> tuple[str, bool]:
    """Return `text` with every unstorable character as U+FFFD, and whether anything was replaced."""
    cleaned, count = _UNSTORABLE.subn(REPLACEMENT, text)
    return cleaned, count > 0


def clean_json(value: Any) -> tuple[Any, bool]:
    """Return `value` fit for a jsonb column, and whether anything was replaced.

    Strings and keys go through `clean_text`; NaN and infinities become None; anything that is not JSON becomes its
    `str()`. The input is never changed in place.
    """
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, float):
        return (value, False) if math.isfinite(value) else (None, True)
    if value is None or isinstance(value, bool | int):
        return value, False
    if isinstance(value, dict):
        return _clean_mapping(value)
    if isinstance(value, list | tuple):
        pairs = [clean_json(item) for item in value]
        return [item for item, _ in pairs], any(changed for _, changed in pairs)
    return clean_text(str(value))[0], True


def _clean_mapping(value: dict[Any, Any]) -> tuple[dict[str, Any], bool]:
    result: dict[str, Any] = {}
    changed = False
    for key, item in value.items():
        clean_key, key_changed = clean_text(str(key))
        result[clean_key], item_changed = clean_json(item)
        changed = changed or key_changed or item_changed
    return result, changed
