"""Endpoints on the wire. Header values, query values and the token go in and never come out."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, Field, SecretStr, StringConstraints, field_validator

from rhesis.backend.app.schemas.common import Input, OwnedOutput
from rhesis.backend.app.schemas.fields import Description, Label, Storable, StorableJson, Update

_Word = Annotated[str, StringConstraints(max_length=50)]
_Address = Annotated[str, StringConstraints(max_length=2_000)]
_Path = Annotated[str, Storable]
_Key = Annotated[str, StringConstraints(min_length=1, max_length=100)]
_Secret = Annotated[SecretStr, Field(max_length=20_000)]


class SecretState(BaseModel):
    """Whether a value is stored. The value itself is not shown to anybody."""

    set: bool


class KeptSecret(Input):
    """The value that is stored already, as an answer shows it."""

    set: Literal[True]


class EndpointCreate(Input):
    """An endpoint to add."""

    name: Label
    description: Description = ""
    protocol: _Word = Field("REST", description="Only REST can be called.")
    url: _Address
    method: _Word = "POST"
    endpoint_path: _Address = Field("", description="Appended to the URL.")
    request_headers: dict[_Key, _Secret] = Field(default_factory=dict, description="Write-only values; templates.")
    query_params: dict[_Key, _Secret] = Field(default_factory=dict, description="Write-only values; templates.")
    request_body_template: StorableJson = Field(
        None, description='A JSON value with templates, default {"input": "{{ input }}"}.'
    )
    response_format: _Word = "json"
    response_mappings: dict[_Key, _Path] = Field(
        default_factory=dict, description="Name to JSON path; `output` is judged."
    )
    auth_type: _Word | None = Field(None, description="bearer_token, or nothing.")
    auth_token: _Secret | None = Field(None, description="Write-only.")


class EndpointUpdate(Update):
    """What may be changed of an endpoint.

    A header or query mapping replaces the stored one; `{"set": true}` as a value keeps what is stored under that name.
    """

    may_be_null: ClassVar[frozenset[str]] = frozenset({"request_body_template", "auth_type", "auth_token"})

    name: Label | None = None
    description: Description | None = None
    protocol: _Word | None = None
    url: _Address | None = None
    method: _Word | None = None
    endpoint_path: _Address | None = None
    request_headers: dict[_Key, _Secret | KeptSecret] | None = None
    query_params: dict[_Key, _Secret | KeptSecret] | None = None
    request_body_template: StorableJson = None
    response_format: _Word | None = None
    response_mappings: dict[_Key, _Path] | None = None
    auth_type: _Word | None = None
    auth_token: _Secret | KeptSecret | None = None


class Endpoint(OwnedOutput):
    """A stored endpoint, without its secrets."""

    name: str
    description: str
    protocol: str
    url: str
    method: str
    endpoint_path: str
    request_headers: dict[str, SecretState]
    query_params: dict[str, SecretState]
    request_body_template: Any
    response_format: str
    response_mappings: dict[str, str]
    auth_type: str | None
    auth_token: SecretState

    @field_validator("request_headers", "query_params", mode="before")
    @classmethod
    def _without_values(cls, stored: dict[str, Any]) -> dict[str, dict[str, bool]]:
        return {name: {"set": True} for name in stored}

    @field_validator("auth_token", mode="before")
    @classmethod
    def _without_token(cls, stored: str | None) -> dict[str, bool]:
        return {"set": stored is not None}


class UpdatedEndpoint(Endpoint):
    """An endpoint after a change. `dropped_secrets` names what the change removed, as it was not sent again."""

    dropped_secrets: list[str] = Field(default_factory=list)
