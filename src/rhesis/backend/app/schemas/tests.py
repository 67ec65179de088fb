"""Tests on the wire."""

from typing import Any, ClassVar

from pydantic import Field

from rhesis.backend.app.schemas.common import Input, OwnedOutput
from rhesis.backend.app.schemas.fields import (
    Behaviour,
    ExternalId,
    LanguageCode,
    Metrics,
    OptionalText,
    Priority,
    Prompt,
    Update,
)


class TestCreate(Input):
    """A test to add."""

    prompt: Prompt = Field(description="What the endpoint is sent.")
    expected_response: OptionalText = Field(None, description="What a good answer is compared with.")
    external_id: ExternalId = Field(None, description="The caller's own name for the test.")
    behaviour: Behaviour = Field(None, description="What the test is about.")
    metrics: Metrics = Field(default_factory=list, description="How answers are judged.")
    priority: Priority = 0
    language_code: LanguageCode | None = Field(None, description="Such as en or pt-BR.")


class TestUpdate(Update):
    """What may be changed of a test."""

    may_be_null: ClassVar[frozenset[str]] = frozenset(
        {"expected_response", "external_id", "behaviour", "language_code"}
    )

    prompt: Prompt | None = None
    expected_response: OptionalText = None
    external_id: ExternalId = None
    behaviour: Behaviour = None
    metrics: Metrics | None = None
    priority: Priority | None = None
    language_code: LanguageCode | None = None


class Test(OwnedOutput):
    """A stored test."""

    external_id: str | None
    prompt: str
    expected_response: str | None
    behaviour: str | None
    metrics: list[Any]
    priority: int
    language_code: str | None
