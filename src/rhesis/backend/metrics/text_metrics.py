"""Metrics that read the answer as text, and the one that reads the clock."""

from typing import Any, ClassVar

from rhesis.backend.domain.text import clean_text
from rhesis.backend.errors import InvalidInput
from rhesis.backend.metrics.definitions import MetricContext, MetricDefinition, MetricResult, ScoreType
from rhesis.backend.metrics.documents import shown
from rhesis.backend.metrics.parameters import ParameterReader
from rhesis.backend.outgoing.patterns import compile_pattern

MAX_LATENCY_SECONDS = 86_400.0


class Contains:
    """Pass when the answer contains the expected text, or every one of several."""

    score_types: ClassVar[tuple[ScoreType, ...]] = (ScoreType.BINARY,)

    def __init__(self, definition: MetricDefinition) -> None:
        reader = ParameterReader(definition.parameters)
        self._definition = definition
        self._wanted = reader.one_or_more_texts("value", "values")
        self._case_sensitive = reader.flag("case_sensitive", default=True)
        reader.finish()

    def evaluate(self, context: MetricContext) -> MetricResult:
        """Look for each expected text; without parameters the test's expected response is the one."""
        wanted = self._wanted or (expected_response(context),)
        found = _occurring(wanted, context.output, case_sensitive=self._case_sensitive)
        missing = [text for text in wanted if text not in found]
        if missing:
            return self._definition.result(0.0, f"The answer does not contain {_listed(missing)}.")
        return self._definition.result(1.0, f"The answer contains {_listed(wanted)}.")


class NotContains:
    """Pass when the answer contains none of the forbidden texts."""

    score_types: ClassVar[tuple[ScoreType, ...]] = (ScoreType.BINARY,)

    def __init__(self, definition: MetricDefinition) -> None:
        reader = ParameterReader(definition.parameters)
        self._definition = definition
        self._forbidden = reader.one_or_more_texts("value", "values")
        if not (reader.has("value") or reader.has("values")):
            reader.problem("value", "or `values` is required")
        self._case_sensitive = reader.flag("case_sensitive", default=True)
        reader.finish()

    def evaluate(self, context: MetricContext) -> MetricResult:
        """Look for each forbidden text."""
        found = _occurring(self._forbidden, context.output, case_sensitive=self._case_sensitive)
        if found:
            return self._definition.result(0.0, f"The answer contains {_listed(found)}.")
        return self._definition.result(1.0, f"The answer does not contain {_listed(self._forbidden)}.")


class Equals:
    """Pass when the answer is the expected text."""

    score_types: ClassVar[tuple[ScoreType, ...]] = (ScoreType.BINARY,)

    def __init__(self, definition: MetricDefinition) -> None:
        reader = ParameterReader(definition.parameters)
        self._definition = definition
        self._value = reader.text("value") if reader.has("value") else None
        self._case_sensitive = reader.flag("case_sensitive", default=True)
        self._strip = reader.flag("strip", default=True)
        reader.finish()

    def evaluate(self, context: MetricContext) -> MetricResult:
        """Compare the whole answer; without `value` with the test's expected response."""
        value = self._value if self._value is not None else expected_response(context)
        if self._normal(context.output) == self._normal(value):
            return self._definition.result(1.0, "The answer is the expected text.")
        return self._definition.result(0.0, f"The answer is {shown(context.output)}, expected was {shown(value)}.")

    def _normal(self, text: str) -> str:
        text = clean_text(text)[0]
        text = text.strip() if self._strip else text
        return text if self._case_sensitive else text.casefold()


class Regex:
    """Pass when a regular expression matches somewhere in the answer."""

    score_types: ClassVar[tuple[ScoreType, ...]] = (ScoreType.BINARY,)

    def __init__(self, definition: MetricDefinition) -> None:
        reader = ParameterReader(definition.parameters)
        self._definition = definition
        self._text = reader.text("pattern")
        case_sensitive = reader.flag("case_sensitive", default=True)
        self._whole = reader.flag("full_match", default=False)
        self._pattern: Any = None
        try:
            self._pattern = compile_pattern(self._text if case_sensitive else f"(?i){self._text}")
        except InvalidInput as error:
            reader.note("pattern", error)
        reader.finish()

    def evaluate(self, context: MetricContext) -> MetricResult:
        """Search in time linear in the answer."""
        match = self._pattern.fullmatch if self._whole else self._pattern.search
        if match(context.output) is not None:
            return self._definition.result(1.0, f"The answer matches {shown(self._text)}.")
        return self._definition.result(0.0, f"The answer does not match {shown(self._text)}.")


class MaxLatency:
    """Pass when the answer arrived in time."""

    score_types: ClassVar[tuple[ScoreType, ...]] = (ScoreType.BINARY,)

    def __init__(self, definition: MetricDefinition) -> None:
        reader = ParameterReader(definition.parameters)
        self._definition = definition
        self._seconds = reader.positive_number("seconds", highest=MAX_LATENCY_SECONDS)
        reader.finish()

    def evaluate(self, context: MetricContext) -> MetricResult:
        """Compare the time from sending the request to the last byte of the response."""
        in_time = context.latency_seconds <= self._seconds
        reason = f"The answer took {context.latency_seconds:.3f} s, allowed are {self._seconds:g} s."
        return self._definition.result(1.0 if in_time else 0.0, reason)


def expected_response(context: MetricContext) -> str:
    """Return the test's expected response, or say that the metric cannot do without."""
    if not context.expected_response:
        raise InvalidInput(
            "the test has no expected_response; give it one, or give the metric the parameter `value`",
            code="no_expected_response",
        )
    return context.expected_response


def _occurring(texts: tuple[str, ...], answer: str, *, case_sensitive: bool) -> list[str]:
    # The answer was cleaned of unstorable characters, so what is looked for must be as well.
    cleaned = [(text, clean_text(text)[0]) for text in texts]
    if case_sensitive:
        return [text for text, wanted in cleaned if wanted in answer]
    folded = answer.casefold()
    return [text for text, wanted in cleaned if wanted.casefold() in folded]


def _listed(texts: list[str] | tuple[str, ...]) -> str:
    return ", ".join(shown(text) for text in texts)
