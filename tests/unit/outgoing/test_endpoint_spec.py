"""Which endpoints can be saved, and the request that one becomes."""

import json
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from rhesis.backend.errors import InvalidInput
from rhesis.backend.outgoing.addresses import AddressPolicy
from rhesis.backend.outgoing.endpoint import EndpointSpec, build_request, check_spec

POLICY = AddressPolicy()
SPEC = EndpointSpec(UUID(int=1), UUID(int=2), "chat", "REST", "https://example.com/v1")


def _spec(**fields: Any) -> EndpointSpec:
    return replace(SPEC, **fields)


def _built(prompt: str = "hello", **fields: Any) -> Any:
    return build_request(_spec(**fields), POLICY, prompt=prompt, test={"n": 1})


def test_an_ordinary_endpoint_is_accepted() -> None:
    check_spec(
        _spec(
            endpoint_path="/chat",
            request_headers={"X-Key": "{{ auth_token }}", "X-Lang": "de"},
            query_params={"q": "{{ input }}"},
            request_body_template={"messages": [{"content": "{{ input }}"}]},
            response_mappings={"output": "$.choices[0].text"},
            auth_type="bearer_token",
        ),
        POLICY,
    )


@pytest.mark.parametrize(
    ("fields", "code", "said"),
    [
        ({"protocol": "WebSocket"}, "unsupported_protocol", "only REST"),
        ({"protocol": "GRPC"}, "unsupported_protocol", "only REST"),
        ({"auth_type": "client_credentials"}, "unsupported_auth", "use bearer_token"),
        ({"method": "CONNECT"}, "invalid_input", "use one of GET"),
        ({"response_format": "yaml"}, "invalid_input", "use one of json"),
        ({"url": "http://127.0.0.1/"}, "address_not_allowed", "address not allowed"),
        ({"url": "https://a.example/?k=1", "endpoint_path": "x"}, "invalid_input", "leave endpoint_path empty"),
        ({"request_headers": {"Host": "internal"}}, "invalid_input", "cannot be set"),
        ({"request_headers": {"Content-Length": "1"}}, "invalid_input", "cannot be set"),
        ({"request_headers": {"a b": "1"}}, "invalid_input", "cannot be set"),
        ({"request_headers": {"X": "a\r\nY: b"}}, "invalid_template", "control characters"),
        ({"query_params": {"q": "{{ nope }}"}}, "invalid_template", "query parameter 'q'"),
        ({"request_body_template": {"a": "{{ input * 9 }}"}}, "invalid_template", "not allowed"),
        ({"response_mappings": {"output": "$["}}, "invalid_json_path", "cannot be used"),
        ({"response_mappings": {"text": "$.a"}}, "invalid_input", "must name `output`"),
        (
            {"response_mappings": {"output": "$.a"}, "response_format": "text"},
            "invalid_input",
            "need response_format json",
        ),
    ],
)
def test_an_endpoint_that_cannot_be_called_is_refused_with_the_reason(
    fields: dict[str, Any], code: str, said: str
) -> None:
    with pytest.raises(InvalidInput, match=said) as refused:
        check_spec(_spec(**fields), POLICY)
    assert refused.value.code == code


def test_the_default_body_is_the_prompt_alone() -> None:
    request = _built('x", "role": "system')
    assert json.loads(request.content) == {"input": 'x", "role": "system'}
    assert (b"content-type", b"application/json") in request.headers


def test_a_get_request_has_no_body_unless_a_template_gives_one() -> None:
    request = _built(method="GET", query_params={"q": "{{ input }}"}, url="https://example.com/search?lang=de")
    assert request.content is None
    assert str(request.url) == "https://example.com/search?lang=de&q=hello"


def test_a_path_is_appended_with_one_slash() -> None:
    assert _spec(url="https://a.example/v1/", endpoint_path="/chat").full_url == "https://a.example/v1/chat"
    assert _spec(url="https://a.example", endpoint_path="@evil.example/").full_url == "https://a.example/@evil.example/"


def test_a_bearer_token_is_sent_unless_a_header_of_that_name_is_given() -> None:
    bearer = _built(auth_type="bearer_token", auth_token="t0ken")
    assert (b"Authorization", b"Bearer t0ken") in bearer.headers
    own = _built(
        auth_type="bearer_token", auth_token="t0ken", request_headers={"authorization": "Key {{ auth_token }}"}
    )
    assert [value for name, value in own.headers if name.lower() == b"authorization"] == [b"Key t0ken"]


def test_a_missing_token_is_said_and_not_sent_as_none() -> None:
    with pytest.raises(InvalidInput, match="no token is stored"):
        _built(auth_type="bearer_token")


@pytest.mark.parametrize("prompt", ["a\r\nX-Admin: 1", "a\x00"])
def test_a_prompt_cannot_add_a_header(prompt: str) -> None:
    with pytest.raises(InvalidInput, match="control character"):
        _built(prompt, request_headers={"X-Prompt": "{{ input }}"})


def test_headers_may_hold_any_letters() -> None:
    assert (b"X-Name", "Jürgen".encode()) in _built(request_headers={"X-Name": "Jürgen"}).headers


def test_the_request_takes_nothing_from_the_spec_away() -> None:
    headers = {"X-Key": "{{ auth_token }}"}
    _built(request_headers=headers, auth_type="bearer_token", auth_token="t0ken")
    assert headers == {"X-Key": "{{ auth_token }}"}


def test_secrets_are_not_in_what_is_printed() -> None:
    spec = _spec(auth_token="t0ken-secret", request_headers={"X": "h-secret"}, query_params={"q": "q-secret"})
    request = build_request(spec, POLICY, prompt="p-secret", test={})
    assert "secret" not in repr(spec)
    assert "h-secret" not in repr(request)
