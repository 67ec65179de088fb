"""Metrics that read the answer, or the mapped fields, as JSON."""

import math
from typing import Any, ClassVar

from rhesis.backend.errors import InvalidInput
from rhesis.backend.metrics.definitions import MetricContext, MetricDefinition, MetricResult, ScoreType
from rhesis.backend.metrics.documents import ParsedDocument, equal_json, shown
from rhesis.backend.metrics.parameters import ParameterReader
from rhesis.backend.metrics.schemas import SafeSchema, compile_schema
from rhesis.backend.outgoing.mapping import check_jsonpath, extract

_SOURCES = ("output", "mapped")


class JsonSchema:
    """Pass when the answer is JSON that a JSON Schema accepts."""

    score_types: ClassVar[tuple[ScoreType, ...]] = (ScoreType.BINARY,)

    def __init__(self, definition: MetricDefinition) -> None:
        reader = ParameterReader(definition.parameters)
        self._definition = definition
        self._source = reader.choice("source", _SOURCES)
        self._schema = _read_schema(reader)
        reader.finish()

    def evaluate(self, context: MetricContext) -> MetricResult:
        """Validate; the reason names the first place that does not fit."""
        document = _document(context, self._source)
        if document.problem is not None:
            return self._definition.result(0.0, f"The answer is not JSON: {document.problem}.")
        problem = self._schema.first_problem(document.value)
        if problem is not None:
            return self._definition.result(0.0, problem)
        return self._definition.result(1.0, "The answer fits the schema.")


class JsonPath:
    """Pass when a JSONPath finds a value, the expected value, or a value that passes the threshold."""

    score_types: ClassVar[tuple[ScoreType, ...]] = (ScoreType.BINARY, ScoreType.NUMERIC, ScoreType.CATEGORICAL)

    def __init__(self, definition: MetricDefinition) -> None:
        reader = ParameterReader(definition.parameters)
        self._definition = definition
        self._source = reader.choice("source", _SOURCES)
        self._path = reader.text("path")
        if self._path:
            try:
                check_jsonpath(self._path)
            except InvalidInput as error:
                reader.note("path", error)
        self._has_value = reader.has("value")
        self._value = reader.value("value")
        if self._has_value and definition.score_type is not ScoreType.BINARY:
            reader.problem("value", f"has no meaning where the found value is a {definition.score_type} score")
        reader.finish()

    def evaluate(self, context: MetricContext) -> MetricResult:
        """Look the path up; a numeric or categorical score is the found value itself."""
        document = _document(context, self._source)
        if document.problem is not None:
            return self._missing(f"The answer is not JSON: {document.problem}.")
        found = extract(document.value, self._path)
        if not found:
            return self._missing(f"{shown(self._path)} finds nothing in the answer.")
        if self._definition.score_type is ScoreType.BINARY:
            return self._compared(found)
        return self._scored(found)

    def _compared(self, found: list[Any]) -> MetricResult:
        said = f"{shown(self._path)} finds {shown(found[0])}"
        if not self._has_value:
            return self._definition.result(1.0, f"{said}.")
        if any(equal_json(item, self._value) for item in found):
            return self._definition.result(1.0, f"{shown(self._path)} finds the expected {shown(self._value)}.")
        return self._definition.result(0.0, f"{said}, expected was {shown(self._value)}.")

    def _scored(self, found: list[Any]) -> MetricResult:
        score = found[0]
        said = f"{shown(self._path)} finds {shown(score)}"
        if len(found) > 1:
            return self._definition.failed(f"{said} and {len(found) - 1} more; a score is one value.")
        if self._definition.score_type is ScoreType.CATEGORICAL:
            fits = isinstance(score, str)
        else:
            fits = isinstance(score, int | float) and not isinstance(score, bool) and abs(score) < math.inf
        if not fits:
            return self._definition.failed(f"{said}, which is not a {self._definition.score_type} score.")
        return self._definition.result(str(score) if isinstance(score, str) else float(score), f"{said}.")

    def _missing(self, reason: str) -> MetricResult:
        # A binary score of 0 keeps its meaning under an inverted operator ("must not be there"); a number that was
        # never found must not pass `< 10`.
        if self._definition.score_type is ScoreType.BINARY:
            return self._definition.result(0.0, reason)
        return self._definition.failed(reason)


def _document(context: MetricContext, source: str) -> ParsedDocument:
    return context.mapped_document if source == "mapped" else context.output_document


def _read_schema(reader: ParameterReader) -> SafeSchema:
    if not reader.has("schema"):
        reader.problem("schema", "is required")
        return compile_schema(True)  # noqa: FBT003 -- true is the schema that accepts everything
    try:
        return compile_schema(reader.value("schema"))
    except InvalidInput as error:
        reader.note("schema", error)
        return compile_schema(True)  # noqa: FBT003
