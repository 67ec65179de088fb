"""Read one stored metric definition and say everything that is wrong with it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, TypeVar

from rhesis.backend.domain.text import clean_text
from rhesis.backend.errors import InputProblem, InvalidInput
from rhesis.backend.metrics.definitions import MetricDefinition, ScoreType, ThresholdOperator

MAX_NAME_CHARACTERS: Final = 100
MAX_DESCRIPTION_CHARACTERS: Final = 1_000

FIELDS: Final = (
    "name",
    "label",
    "description",
    "parameters",
    "class_name",
    "backend",
    "score_type",
    "min_score",
    "max_score",
    "reference_score",
    "threshold",
    "threshold_operator",
    "ground_truth_required",
    "context_required",
)
_Choice = TypeVar("_Choice", bound=StrEnum)


@dataclass(frozen=True)
class MetricKind:
    """What the registry knows about a metric's name before any definition is read."""

    name: str
    class_name: str
    backend: str
    description: str
    score_types: tuple[ScoreType, ...]


def metric_name(raw: Any) -> str:
    """Return the name a definition asks for; a bare text is the short form of `{"name": text}`."""
    name = raw.get("name") if isinstance(raw, Mapping) else raw
    if not isinstance(name, str) or not 1 <= len(name) <= MAX_NAME_CHARACTERS:
        message = f"A metric is a name or an object with a `name` of 1 to {MAX_NAME_CHARACTERS} characters."
        raise InvalidInput(message, code="invalid_metric", problems=(InputProblem("name", message),))
    return name


def parse_definition(raw: Any, kind: MetricKind) -> MetricDefinition:
    """Return `raw` completed with its defaults, or raise `InvalidInput` with every problem."""
    reader = _Fields(raw if isinstance(raw, Mapping) else {})
    score_type = reader.choice("score_type", ScoreType, kind.score_types[0])
    categorical = score_type is ScoreType.CATEGORICAL
    operator = ThresholdOperator.EQUAL if categorical else ThresholdOperator.AT_LEAST
    threshold = reader.number("threshold")
    definition = MetricDefinition(
        name=kind.name,
        label=reader.text("label", MAX_NAME_CHARACTERS) or kind.name,
        class_name=kind.class_name,
        backend=kind.backend,
        description=reader.text("description", MAX_DESCRIPTION_CHARACTERS) or kind.description,
        parameters=reader.parameters(),
        score_type=score_type,
        min_score=reader.number("min_score"),
        max_score=reader.number("max_score"),
        reference_score=reader.text("reference_score", MAX_NAME_CHARACTERS),
        threshold=0.5 if threshold is None else threshold,
        threshold_operator=reader.choice("threshold_operator", ThresholdOperator, operator),
        ground_truth_required=reader.flag("ground_truth_required"),
        context_required=reader.flag("context_required"),
    )
    reader.same("class_name", kind.class_name)
    reader.same("backend", kind.backend)
    reader.check_score(definition, kind)
    reader.finish()
    return definition


@dataclass
class _Fields:
    """The fields of one definition and what was wrong with them; each reader returns something usable."""

    raw: Mapping[str, Any]
    problems: list[InputProblem] = field(default_factory=list)

    def text(self, name: str, longest: int) -> str | None:
        value = self.raw.get(name)
        if value is None:
            return None
        if not isinstance(value, str) or not 1 <= len(value) <= longest:
            self.problem(name, f"must be a text of 1 to {longest} characters")
            return None
        return value

    def number(self, name: str) -> float | None:
        value = self.raw.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not _is_finite(value):
            self.problem(name, "must be a finite number")
            return None
        return float(value)

    def flag(self, name: str) -> bool:
        value = self.raw.get(name, False)
        if not isinstance(value, bool):
            self.problem(name, "must be true or false")
        return value is True

    def choice(self, name: str, choices: type[_Choice], default: _Choice) -> _Choice:
        value = self.raw.get(name, default)
        try:
            return choices(value)
        except ValueError:
            self.problem(name, f"must be one of {' '.join(choices)}")
            return default

    def parameters(self) -> dict[str, Any]:
        value = self.raw.get("parameters", {})
        if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
            self.problem("parameters", "must be an object")
            return {}
        return dict(value)

    def same(self, name: str, expected: str) -> None:
        if self.raw.get(name, expected) != expected:
            self.problem(name, f"of this metric is {expected}; leave it out")

    def check_score(self, definition: MetricDefinition, kind: MetricKind) -> None:
        if definition.score_type not in kind.score_types:
            self.problem("score_type", f"must be {' or '.join(kind.score_types)} for this metric")
        if definition.score_type is ScoreType.CATEGORICAL:
            self._check_categorical(definition)
            return
        low = -math.inf if definition.min_score is None else definition.min_score
        high = math.inf if definition.max_score is None else definition.max_score
        if low >= high:
            self.problem("min_score", "must be below `max_score`")
        elif not low <= definition.threshold <= high:
            self.problem("threshold", f"{definition.threshold:g} lies outside the scores {low:g} to {high:g}")

    def _check_categorical(self, definition: MetricDefinition) -> None:
        if definition.reference_score is None:
            self.problem("reference_score", "is required for a categorical score")
        if definition.threshold_operator not in {ThresholdOperator.EQUAL, ThresholdOperator.NOT_EQUAL}:
            self.problem("threshold_operator", "must be = or != for a categorical score")

    def problem(self, name: str, message: str) -> None:
        self.problems.append(InputProblem(name, f"`{name}` {message}."))

    def finish(self) -> None:
        for name in self.raw:
            if name not in FIELDS:
                shown, _ = clean_text(str(name)[:MAX_NAME_CHARACTERS])
                self.problem(shown, f"is not a field of a metric; it has {', '.join(FIELDS)}")
        if self.problems:
            raise InvalidInput(self.problems[0].message, code="invalid_metric", problems=tuple(self.problems))


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:
        return False
