"""Kinds of fields that several objects have, and the base of partial changes."""

import json
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, ValidationInfo, field_validator

from rhesis.backend.app.schemas import limits
from rhesis.backend.app.schemas.common import Input
from rhesis.backend.domain.text import clean_json, clean_text


def _storable(value: Any) -> Any:
    return clean_text(value)[0] if isinstance(value, str) else value


def _storable_json(value: Any) -> Any:
    return clean_json(value)[0]


def _small(value: dict[str, Any]) -> dict[str, Any]:
    size = len(json.dumps(value))
    if size > limits.MAX_ATTRIBUTES_BYTES:
        raise ValueError(f"has {size} bytes of JSON, at most {limits.MAX_ATTRIBUTES_BYTES} are accepted")
    return value


def _absent_if_empty(value: str | None) -> str | None:
    return value or None


Storable = BeforeValidator(_storable)
"""Characters that cannot be stored become U+FFFD, visibly."""

Label = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=limits.MAX_NAME_LENGTH), Storable
]
Description = Annotated[str, StringConstraints(max_length=limits.MAX_DESCRIPTION_LENGTH), Storable]
Prompt = Annotated[str, StringConstraints(min_length=1, pattern=r"\S"), Storable]
OptionalText = Annotated[Annotated[str, Storable] | None, AfterValidator(_absent_if_empty)]
ExternalId = Annotated[
    Annotated[str, StringConstraints(max_length=limits.MAX_EXTERNAL_ID_LENGTH), Storable] | None,
    AfterValidator(_absent_if_empty),
]
Behaviour = Annotated[
    Annotated[str, StringConstraints(max_length=limits.MAX_BEHAVIOUR_LENGTH), Storable] | None,
    AfterValidator(_absent_if_empty),
]
LanguageCode = Annotated[str, StringConstraints(pattern=f"^{limits.LANGUAGE_CODE_PATTERN}$")]
Priority = Annotated[int, Field(ge=-limits.MAX_PRIORITY, le=limits.MAX_PRIORITY)]
StorableJson = Annotated[Any, BeforeValidator(_storable_json)]
Metrics = Annotated[list[Any], BeforeValidator(_storable_json)]
Attributes = Annotated[dict[str, Any], BeforeValidator(_storable_json), AfterValidator(_small)]


class Update(Input):
    """A partial change: what is not sent stays. Null is refused except for what may be absent."""

    may_be_null: ClassVar[frozenset[str]] = frozenset()

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_null(cls, value: Any, info: ValidationInfo) -> Any:
        if value is None and info.field_name not in cls.may_be_null:
            raise ValueError("cannot be null; leave it out to keep it as it is")
        return value

    def changes(self) -> dict[str, Any]:
        """Return what was sent."""
        return {name: getattr(self, name) for name in sorted(self.model_fields_set)}
