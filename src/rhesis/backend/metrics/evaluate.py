"""Judge one answer by a list of metrics."""

from dataclasses import replace
from typing import Any

from rhesis.backend.domain.text import clean_text
from rhesis.backend.metrics.definitions import MetricContext
from rhesis.backend.metrics.registry import build_metrics


def evaluate_all(definitions: Any, context: MetricContext) -> dict[str, dict[str, Any]]:
    """Return one stored result for each definition, by unique name; never raise.

    A definition that cannot be used and a metric that raises give a result with `error` that is not successful. The
    answer is cleaned of unstorable characters first, so that what is judged is what is stored.
    """
    output, _ = clean_text(context.output)
    cleaned = replace(context, output=output)
    results = (metric.evaluate(cleaned) for metric in build_metrics(definitions))
    return {result.name: result.as_dict() for result in results}
