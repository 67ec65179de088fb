"""Find metrics by name and build them: strictly when a definition is saved, leniently when a test runs.

Built-in metrics come first, so that no installed package changes what a stored definition means. Others come from
installed distributions through the entry point group `rhesis.metrics`; they are imported when a definition names them.
"""

import json
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

from rhesis.backend.domain.text import clean_text
from rhesis.backend.errors import InputProblem, InvalidInput, RhesisError
from rhesis.backend.metrics.definitions import (
    Metric,
    MetricContext,
    MetricDefinition,
    MetricFactory,
    MetricResult,
    ScoreType,
)
from rhesis.backend.metrics.document_metrics import JsonPath, JsonSchema
from rhesis.backend.metrics.documents import shown
from rhesis.backend.metrics.parsing import MetricKind, metric_name, parse_definition
from rhesis.backend.metrics.text_metrics import Contains, Equals, MaxLatency, NotContains, Regex

ENTRY_POINT_GROUP: Final = "rhesis.metrics"
BUILT_IN_BACKEND: Final = "rhesis"
MAX_METRICS: Final = 50
MAX_DEFINITIONS_CHARACTERS: Final = 512 * 1024
_SHOWN_ERROR_CHARACTERS: Final = 300
_SHOWN_REASON_CHARACTERS: Final = 4_000
_EVERY_SCORE_TYPE: Final = (ScoreType.NUMERIC, ScoreType.BINARY, ScoreType.CATEGORICAL)

_BUILT_IN: Final[Mapping[str, MetricFactory]] = {
    "contains": Contains,
    "not_contains": NotContains,
    "equals": Equals,
    "regex": Regex,
    "json_schema": JsonSchema,
    "jsonpath": JsonPath,
    "max_latency": MaxLatency,
}
BUILT_IN_METRICS: Final = tuple(_BUILT_IN)


@dataclass(frozen=True)
class GuardedMetric:
    """A metric that always answers: whatever the one inside raises or returns becomes a result."""

    definition: MetricDefinition
    inner: Metric

    def evaluate(self, context: MetricContext) -> MetricResult:
        """Judge the answer, or say why it could not be judged."""
        missing = self._missing_input(context)
        if missing is not None:
            return self.definition.error_result(missing)
        try:
            return self._completed(self.inner.evaluate(context))
        except Exception as error:  # noqa: BLE001 -- a metric may be anyone's code; the other metrics still count
            return self.definition.error_result(describe_error(error))

    def _completed(self, result: Any) -> MetricResult:
        if not isinstance(result, MetricResult):
            return self.definition.error_result(f"the metric returned {type(result).__name__}, not a MetricResult")
        template = self.definition.error_result("")
        error = None if result.error is None else str(result.error)[:_SHOWN_ERROR_CHARACTERS]
        score: Any = result.score
        if not isinstance(score, str) and not math.isfinite(score):
            return self.definition.error_result("the metric's score is not a finite number")
        return replace(
            template,
            score=score[:_SHOWN_ERROR_CHARACTERS] if isinstance(score, str) else float(score),
            reason=str(result.reason)[:_SHOWN_REASON_CHARACTERS],
            is_successful=result.is_successful is True and error is None,
            error=error,
        )

    def _missing_input(self, context: MetricContext) -> str | None:
        if self.definition.ground_truth_required and not context.expected_response:
            return "the metric requires a ground truth and the test has no expected_response"
        if self.definition.context_required and not context.mapped.get("context"):
            return "the metric requires a context and the response mapping gave no field `context`"
        return None


@dataclass(frozen=True)
class InvalidMetric:
    """What stands in for a definition that cannot be built, so that its test cannot pass without it."""

    definition: MetricDefinition
    error: str

    def evaluate(self, context: MetricContext) -> MetricResult:  # noqa: ARG002 -- the signature is the protocol's
        """Return the error; no answer can pass."""
        return self.definition.error_result(self.error)


def known_metrics() -> tuple[str, ...]:
    """Return the name of every metric that a definition may use, built-in ones first."""
    return (*_BUILT_IN, *sorted(_entry_points().keys() - _BUILT_IN.keys()))


def check_definitions(definitions: Any) -> None:
    """Refuse a list of definitions that could not be evaluated; meant for the moment it is saved.

    Raise `InvalidInput` (code `invalid_metric`) with one problem for each thing that is wrong.

    >>> check_definitions(["contains", {"name": "max_latency", "parameters": {"seconds": 2}}])
    """
    if not isinstance(definitions, list):
        raise InvalidInput("metrics must be a list", code="invalid_metric")
    if len(definitions) > MAX_METRICS:
        raise InvalidInput(_too_many(definitions), code="invalid_metric")
    _check_size(definitions)
    problems: list[InputProblem] = []
    for index, raw in enumerate(definitions):
        try:
            _build(raw)
        except InvalidInput as error:
            where = f"metrics[{index}]"
            found = [InputProblem(f"{where}.{problem.where}", problem.message) for problem in error.problems]
            problems.extend(found or [InputProblem(where, str(error))])
    if problems:
        message = f"{len(problems)} problem(s) in the metrics; the first, at {problems[0].where}: {problems[0].message}"
        raise InvalidInput(message, code="invalid_metric", problems=tuple(problems))


def _check_size(definitions: list[Any]) -> None:
    try:
        size = len(json.dumps(definitions, default=str))
    except (ValueError, TypeError, RecursionError) as error:
        raise InvalidInput("metrics must be JSON of a usable depth", code="invalid_metric") from error
    if size > MAX_DEFINITIONS_CHARACTERS:
        message = f"the metrics have {size} characters as JSON, at most {MAX_DEFINITIONS_CHARACTERS} are accepted"
        raise InvalidInput(message, code="invalid_metric")


def build_metrics(definitions: Any) -> list[Metric]:
    """Return one metric for each definition, never fewer: an invalid one becomes `InvalidMetric_<index>`.

    Names are unique in the result: the second `contains` is `contains_2`. What exceeds 50 definitions is one invalid
    metric, so that a list too long for us cannot pass by being cut.
    """
    if definitions is None:
        return []
    if not isinstance(definitions, list | tuple):
        return [_invalid_metric(0, "metrics must be a list")]
    metrics = [_build_leniently(raw, index) for index, raw in enumerate(definitions[:MAX_METRICS])]
    if len(definitions) > MAX_METRICS:
        metrics.append(_invalid_metric(MAX_METRICS, _too_many(definitions)))
    return _with_unique_names(metrics)


def describe_error(error: BaseException) -> str:
    """Return one short line for an error: our own message as it is, a foreign one with its type."""
    text = str(error) if isinstance(error, RhesisError) else f"{type(error).__name__}: {error}"
    return text.partition("\n")[0][:_SHOWN_ERROR_CHARACTERS]


def _build_leniently(raw: Any, index: int) -> GuardedMetric | InvalidMetric:
    try:
        return _build(raw)
    except Exception as error:  # noqa: BLE001 -- a stored definition may be older than the rules; the run goes on
        return _invalid_metric(index, describe_error(error))


def _build(raw: Any) -> GuardedMetric:
    name = metric_name(raw)
    factory, backend = _factory(name)
    definition = parse_definition(raw, _kind(name, factory, backend))
    try:
        return GuardedMetric(definition, factory(definition))
    except InvalidInput:
        raise
    except Exception as error:
        message = f"metric {shown(name)} of {backend} cannot be built: {describe_error(error)}"
        raise InvalidInput(message, code="invalid_metric") from error


def _kind(name: str, factory: Any, backend: str) -> MetricKind:
    return MetricKind(
        name=name,
        class_name=str(getattr(factory, "__name__", type(factory).__name__)),
        backend=backend,
        description=(getattr(factory, "__doc__", None) or name).strip().partition("\n")[0],
        score_types=tuple(getattr(factory, "score_types", _EVERY_SCORE_TYPE)),
    )


def _factory(name: str) -> tuple[MetricFactory, str]:
    if name in _BUILT_IN:
        return _BUILT_IN[name], BUILT_IN_BACKEND
    entry_point = _entry_points().get(name)
    if entry_point is None:
        message = f"There is no metric {shown(name)}; known are {', '.join(known_metrics())}."
        raise InvalidInput(message, code="invalid_metric", problems=(InputProblem("name", message),))
    backend = entry_point.dist.name if entry_point.dist else "unknown"
    try:
        factory: MetricFactory = entry_point.load()
    except Exception as error:
        message = f"metric {shown(name)} of {backend} cannot be imported: {describe_error(error)}"
        raise InvalidInput(message, code="invalid_metric") from error
    return factory, backend


def _entry_points() -> Mapping[str, EntryPoint]:
    return _entry_points_on(tuple(sys.path))


@lru_cache(maxsize=4)
def _entry_points_on(_path: tuple[str, ...]) -> Mapping[str, EntryPoint]:
    # Reading every distribution's metadata takes longer than judging an answer, so it is done once for each sys.path.
    # Of two distributions with one name the alphabetically first wins, on every machine alike.
    found = sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda each: each.dist.name if each.dist else "")
    return {each.name: each for each in reversed(found)}


def _invalid_metric(index: int, error: str) -> InvalidMetric:
    definition = MetricDefinition(
        name="invalid",
        label=f"InvalidMetric_{index}",
        class_name="InvalidMetric",
        backend=BUILT_IN_BACKEND,
        description="A definition that cannot be used.",
    )
    return InvalidMetric(definition, error)


def _with_unique_names(metrics: list[GuardedMetric | InvalidMetric]) -> list[Metric]:
    taken: set[str] = set()
    unique: list[Metric] = []
    for metric in metrics:
        label = wanted = clean_text(metric.definition.label)[0]
        number = 2
        while label in taken:
            label, number = f"{wanted}_{number}", number + 1
        taken.add(label)
        unique.append(replace(metric, definition=replace(metric.definition, label=label)))
    return unique


def _too_many(definitions: Any) -> str:
    return f"{len(definitions)} metrics are listed, at most {MAX_METRICS} are accepted"
