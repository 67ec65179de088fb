"""Which secrets an endpoint still has after a change.

Whoever may change where an endpoint sends its secrets, or what it makes of them, could have them sent to himself. So
such a change drops what is stored, unless it is sent again by somebody who knows it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import SecretStr

from rhesis.backend.app.models import Endpoint
from rhesis.backend.app.schemas.endpoints import KeptSecret
from rhesis.backend.errors import InputProblem, InvalidInput

MAPPINGS: Final = ("request_headers", "query_params")
TOKEN: Final = "auth_token"  # noqa: S105 - the name of a field
_DESTINATION: Final = ("url", "method", "endpoint_path")
_TEMPLATE_MARKS: Final = ("{{", "{%")
_KEPT: Final = KeptSecret(set=True)

Seal = Callable[[SecretStr], str]


@dataclass(frozen=True)
class StoredSecrets:
    """Sealed values, and the names of those that were stored and no longer are."""

    mappings: Mapping[str, dict[str, str]]
    token: str | None
    dropped: tuple[str, ...]


def secrets_after(endpoint: Endpoint, changes: Mapping[str, Any], seal: Seal) -> StoredSecrets:
    """Return the endpoint's secrets after `changes`; raise `InvalidInput` for one to be kept that is not stored."""
    stays = not any(_differs(endpoint, changes, name) for name in _DESTINATION)
    mappings: dict[str, dict[str, str]] = {}
    dropped: list[str] = []
    for name in MAPPINGS:
        stored: dict[str, str] = getattr(endpoint, name)
        wanted = changes.get(name, dict.fromkeys(stored, _KEPT))
        _refuse_unknown(name, stored, wanted)
        sent = {key: seal(value) for key, value in wanted.items() if isinstance(value, SecretStr)}
        kept = {key: stored[key] for key in wanted if key not in sent}
        mappings[name] = {**kept, **sent} if stays else sent
        dropped += [] if stays else [f"{name}.{key}" for key in kept]
    token = _token_after(endpoint, changes, seal, keep=stays and not _has_new_template(endpoint, changes))
    if endpoint.auth_token is not None and token is None and changes.get(TOKEN, _KEPT) is not None:
        dropped.append(TOKEN)
    return StoredSecrets(mappings, token, tuple(sorted(dropped)))


def _token_after(endpoint: Endpoint, changes: Mapping[str, Any], seal: Seal, *, keep: bool) -> str | None:
    sent = changes.get(TOKEN, _KEPT)
    if isinstance(sent, SecretStr):
        return seal(sent)
    if sent is None:
        return None
    if TOKEN in changes and endpoint.auth_token is None:
        raise _nothing_stored(TOKEN)
    return endpoint.auth_token if keep else None


def _has_new_template(endpoint: Endpoint, changes: Mapping[str, Any]) -> bool:
    sent = [value for name in MAPPINGS for value in changes.get(name, {}).values() if isinstance(value, SecretStr)]
    return _differs(endpoint, changes, "request_body_template") or any(
        mark in value.get_secret_value() for value in sent for mark in _TEMPLATE_MARKS
    )


def _differs(endpoint: Endpoint, changes: Mapping[str, Any], name: str) -> bool:
    return name in changes and changes[name] != getattr(endpoint, name)


def _refuse_unknown(name: str, stored: Mapping[str, str], wanted: Mapping[str, Any]) -> None:
    for key, value in wanted.items():
        if not isinstance(value, SecretStr) and key not in stored:
            raise _nothing_stored(f"{name}.{key}")


def _nothing_stored(name: str) -> InvalidInput:
    message = f"no value of {name} is stored that could be kept: send one"
    return InvalidInput(message, problems=(InputProblem(f"body.{name}", message),))
