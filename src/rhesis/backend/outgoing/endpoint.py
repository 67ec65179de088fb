"""What the service knows about an endpoint, whether it can be called, and the request it is called with."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

import httpx2

from rhesis.backend.domain.text import clean_json
from rhesis.backend.errors import InvalidInput
from rhesis.backend.outgoing.addresses import AddressPolicy, check_url
from rhesis.backend.outgoing.client import OutgoingRequest
from rhesis.backend.outgoing.mapping import check_mappings
from rhesis.backend.outgoing.redaction import Redactor, secrets_of_header, secrets_of_values
from rhesis.backend.outgoing.templates import (
    check_line,
    check_template,
    literal_texts,
    render_line,
    render_template,
)

METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")
RESPONSE_FORMATS: Final = ("json", "text", "xml")
MAX_LINES: Final = 50
_METHODS_WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})
_DEFAULT_BODY: Final = {"input": "{{ input }}"}
_BEARER: Final = "bearer_token"
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
_OWN_HEADERS: Final = frozenset(
    {
        "accept-encoding",
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)


@dataclass(frozen=True)
class EndpointSpec:
    """An endpoint with its credentials decrypted: never log or store one."""

    id: UUID
    organization_id: UUID
    name: str
    protocol: str
    url: str
    method: str = "POST"
    endpoint_path: str = ""
    request_headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    query_params: Mapping[str, str] = field(default_factory=dict, repr=False)
    request_body_template: Any = field(default=None, repr=False)
    response_format: str = "json"
    response_mappings: Mapping[str, str] = field(default_factory=dict)
    auth_type: str | None = None
    auth_token: str | None = field(default=None, repr=False)

    @property
    def full_url(self) -> str:
        """The URL with the endpoint's path appended."""
        if not self.endpoint_path:
            return self.url
        return f"{self.url.rstrip('/')}/{self.endpoint_path.lstrip('/')}"


def check_spec(spec: EndpointSpec, policy: AddressPolicy) -> None:
    """Raise `InvalidInput` with the reason when the endpoint cannot be called.

    Meant for the moment it is saved: whoever saves it is told, not the run that meets it later.
    """
    _check_kind(spec)
    if spec.endpoint_path and re.search(r"[?#]", spec.url):
        raise InvalidInput("the URL has a query, so nothing can be appended to it: leave endpoint_path empty")
    check_url(spec.full_url, policy)
    _check_lines(spec.request_headers, "header")
    _check_lines(spec.query_params, "query parameter")
    for name in spec.request_headers:
        if not _HEADER_NAME.fullmatch(name) or name.lower() in _OWN_HEADERS:
            raise InvalidInput(f"the header {name[:100]!r} cannot be set: it is not a name, or HTTP sets it itself")
    if spec.request_body_template is not None:
        check_template(spec.request_body_template)
    _check_mapping(spec)


def _check_kind(spec: EndpointSpec) -> None:
    if spec.protocol != "REST":
        raise InvalidInput(
            f"the protocol {spec.protocol[:50]!r} is not supported: only REST endpoints can be called",
            code="unsupported_protocol",
        )
    if spec.auth_type not in (None, _BEARER):
        raise InvalidInput(
            f"the auth_type {spec.auth_type[:50]!r} is not supported: use {_BEARER}, or a header of your own",
            code="unsupported_auth",
        )
    if spec.method not in METHODS:
        raise InvalidInput(f"the method {spec.method[:50]!r} is not supported: use one of {', '.join(METHODS)}")
    if spec.response_format not in RESPONSE_FORMATS:
        known = ", ".join(RESPONSE_FORMATS)
        raise InvalidInput(f"the response_format {spec.response_format[:50]!r} is not supported: use one of {known}")


def _check_lines(lines: Mapping[str, str], kind: str) -> None:
    if len(lines) > MAX_LINES:
        raise InvalidInput(f"{len(lines)} {kind}s, at most {MAX_LINES} are accepted")
    for name, value in lines.items():
        try:
            check_line(value)
        except InvalidInput as error:
            raise InvalidInput(f"the {kind} {name[:100]!r} cannot be used: {error}", code=error.code) from error


def _check_mapping(spec: EndpointSpec) -> None:
    if not spec.response_mappings:
        return
    if spec.response_format != "json":
        raise InvalidInput(f"response_mappings need response_format json, not {spec.response_format}")
    if "output" not in spec.response_mappings:
        raise InvalidInput("response_mappings must name `output`: the path of the text that is judged")
    check_mappings(spec.response_mappings)


def build_request(
    spec: EndpointSpec, policy: AddressPolicy, *, prompt: str, test: Mapping[str, Any]
) -> OutgoingRequest:
    """Return the request that puts `prompt` to the endpoint; raise `InvalidInput` if this test does not fit into it."""
    _check_kind(spec)
    variables = {"input": prompt, "auth_token": spec.auth_token, "test": test}
    parameters = {name: render_line(value, variables) for name, value in spec.query_params.items()}
    url = check_url(spec.full_url, policy)
    if parameters:
        url = url.copy_merge_params(parameters)
    headers = _headers(spec, variables)
    content = _content(spec, variables)
    if content is not None:
        headers.setdefault("content-type", "application/json")
    return OutgoingRequest(spec.method, url, tuple(headers.raw), content)


def _headers(spec: EndpointSpec, variables: Mapping[str, Any]) -> httpx2.Headers:
    headers = httpx2.Headers(encoding="utf-8")
    for name, value in spec.request_headers.items():
        headers[name] = render_line(value, variables).strip()
    if spec.auth_type == _BEARER and "authorization" not in headers:
        if not spec.auth_token:
            raise InvalidInput(
                "the endpoint's auth_type is bearer_token, but no token is stored: send auth_token again"
            )
        headers["Authorization"] = render_line("Bearer {{ auth_token }}", variables).strip()
    if spec.response_format == "json":
        headers.setdefault("accept", "application/json")
    return headers


def _content(spec: EndpointSpec, variables: Mapping[str, Any]) -> bytes | None:
    template = spec.request_body_template
    if template is None:
        if spec.method not in _METHODS_WITH_BODY:
            return None
        template = _DEFAULT_BODY
    body, _ = clean_json(render_template(template, variables))
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def redactor_for(spec: EndpointSpec) -> Redactor:
    """Return what takes this endpoint's secrets out of its answers: the token, header values and query values."""
    return Redactor(_secrets(spec))


def _secrets(spec: EndpointSpec) -> Iterator[str]:
    if spec.auth_token:
        yield spec.auth_token
    for name, value in spec.request_headers.items():
        for text in literal_texts(value):
            yield from secrets_of_header(name, text)
    for value in spec.query_params.values():
        yield from secrets_of_values(literal_texts(value))
