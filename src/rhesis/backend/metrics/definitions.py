"""What a metric is told, what it is asked, and what it answers.

A definition is stored with a test, a test set or a configuration. A context is one answer of an endpoint. A metric
turns a context into a result: a score, and whether that score passes the definition's threshold.
"""

import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any, Protocol

from rhesis.backend.domain.text import clean_json
from rhesis.backend.metrics.documents import ParsedDocument, document_from, parse_document

Score = float | str


class ScoreType(StrEnum):
    """What kind of score a metric gives."""

    BINARY = "binary"
    NUMERIC = "numeric"
    CATEGORICAL = "categorical"


class ThresholdOperator(StrEnum):
    """How a score is compared with the threshold."""

    EQUAL = "="
    LESS = "<"
    GREATER = ">"
    AT_MOST = "<="
    AT_LEAST = ">="
    NOT_EQUAL = "!="


_COMPARISONS: Mapping[ThresholdOperator, Callable[[float, float], bool]] = {
    ThresholdOperator.EQUAL: operator.eq,
    ThresholdOperator.LESS: operator.lt,
    ThresholdOperator.GREATER: operator.gt,
    ThresholdOperator.AT_MOST: operator.le,
    ThresholdOperator.AT_LEAST: operator.ge,
    ThresholdOperator.NOT_EQUAL: operator.ne,
}


@dataclass(frozen=True)
class MetricContext:
    """One answer and what is known about it.

    `mapped` holds the fields the endpoint's response mapping took from the response, `output` among them. The answer is
    parsed as JSON at most once, however many metrics read it.
    """

    prompt: str
    output: str
    mapped: Mapping[str, Any]
    expected_response: str | None
    latency_seconds: float
    status_code: int | None

    @cached_property
    def output_document(self) -> ParsedDocument:
        """The answer as JSON."""
        return parse_document(self.output)

    @cached_property
    def mapped_document(self) -> ParsedDocument:
        """The mapped fields as one JSON object."""
        return document_from(self.mapped)


@dataclass(frozen=True)
class MetricResult:
    """What one metric says about one answer; `error` says why it could not judge."""

    name: str
    class_name: str
    backend: str
    score: Score
    score_type: ScoreType
    threshold: float | None
    reason: str
    is_successful: bool
    description: str
    error: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the stored shape: only JSON values, no NaN, no text a database refuses."""
        stored = {
            "score": self.score,
            "reason": self.reason,
            "is_successful": self.is_successful,
            "threshold": self.threshold,
            "backend": self.backend,
            "name": self.name,
            "class_name": self.class_name,
            "description": self.description,
        }
        if self.error is not None:
            stored["error"] = self.error
        cleaned: dict[str, Any] = clean_json(stored)[0]
        return cleaned


@dataclass(frozen=True)
class MetricDefinition:
    """One entry of a list of metrics, read and completed with its defaults.

    `label` is the result's name, unique in its list. `reference_score` is the category a categorical score must be;
    numeric and binary scores are compared with `threshold`.
    """

    name: str
    label: str
    class_name: str
    backend: str
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    score_type: ScoreType = ScoreType.BINARY
    min_score: float | None = None
    max_score: float | None = None
    reference_score: str | None = None
    threshold: float = 0.5
    threshold_operator: ThresholdOperator = ThresholdOperator.AT_LEAST
    ground_truth_required: bool = False
    context_required: bool = False

    def result(self, score: Score, reason: str) -> MetricResult:
        """Judge `score` by the threshold; a score of the wrong kind or outside its range is an error, not a verdict."""
        problem = self._score_problem(score)
        if problem is not None:
            return self.error_result(problem)
        return self._build(score, reason, is_successful=self._passes(score))

    def failed(self, reason: str) -> MetricResult:
        """Say that the answer has nothing this metric could score, whatever the threshold."""
        return self._build(0.0, reason, is_successful=False)

    def error_result(self, error: str) -> MetricResult:
        """Say that the metric could not judge."""
        return self._build(0.0, "The metric could not judge the answer.", is_successful=False, error=error)

    def _passes(self, score: Score) -> bool:
        if isinstance(score, str):
            return (score == self.reference_score) is (self.threshold_operator is not ThresholdOperator.NOT_EQUAL)
        return _COMPARISONS[self.threshold_operator](score, self.threshold)

    def _score_problem(self, score: Score) -> str | None:
        if isinstance(score, str) is not (self.score_type is ScoreType.CATEGORICAL):
            return f"the score is not {self.score_type}"
        if isinstance(score, str):
            return None
        if not math.isfinite(score):
            return "the score is not a finite number"
        low = -math.inf if self.min_score is None else self.min_score
        high = math.inf if self.max_score is None else self.max_score
        return None if low <= score <= high else f"the score {score:g} is outside {low:g} to {high:g}"

    def _build(self, score: Score, reason: str, *, is_successful: bool, error: str | None = None) -> MetricResult:
        return MetricResult(
            name=self.label,
            class_name=self.class_name,
            backend=self.backend,
            score=score,
            score_type=self.score_type,
            threshold=None if self.score_type is ScoreType.CATEGORICAL else self.threshold,
            reason=reason,
            is_successful=is_successful,
            description=self.description,
            error=error,
        )


class Metric(Protocol):
    """Anything that judges an answer.

    A metric is built once per list and judges one answer; it may be called from several threads, so it keeps no state
    between calls.
    """

    def evaluate(self, context: MetricContext) -> MetricResult:
        """Judge the answer in `context`."""
        ...


class MetricFactory(Protocol):
    """What the entry point group `rhesis.metrics` names: a class or a function that builds a metric.

    It raises `InvalidInput` when the definition's parameters cannot be used. An attribute `score_types` (a tuple, the
    default first) says which kinds of score it gives; without it all three are possible and numeric is the default.
    """

    def __call__(self, definition: MetricDefinition, /) -> Metric:
        """Build the metric that `definition` describes."""
        ...
