"""Write tests and results as CSV, JSONL and JUnit XML, piece by piece. Nothing here knows a database."""

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final
from xml.sax.saxutils import escape, quoteattr

from rhesis.backend.app.models import Test
from rhesis.backend.app.repositories.run_reports import ReportedResult, RunSummary
from rhesis.backend.app.services.import_rows import COLUMNS
from rhesis.backend.domain.run_status import ResultStatus

RESULT_COLUMNS: Final = (
    "test_id",
    "id",
    "prompt",
    "expected_response",
    "behaviour",
    "status",
    "error_type",
    "error",
    "execution_time_ms",
    "output",
    "metrics",
)
_FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r")
_FORBIDDEN_IN_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_TITLE_CHARACTERS: Final = 80
_XML_HEAD: Final = '<?xml version="1.0" encoding="UTF-8"?>\n'

Pages = Iterable[Sequence[ReportedResult]]


class ExportFormat(StrEnum):
    """How a test set is written."""

    CSV = "csv"
    JSONL = "jsonl"


def csv_of_tests(pages: Iterable[Sequence[Test]], *, raw: bool) -> Iterator[str]:
    """Yield a CSV file that can be imported again: exactly so if `raw`, else made safe for spreadsheets."""
    yield _csv_lines([COLUMNS], raw=True)
    for page in pages:
        yield _csv_lines((_cells(_values(test)) for test in page), raw=raw)


def jsonl_of_tests(pages: Iterable[Sequence[Test]]) -> Iterator[str]:
    """Yield one JSON object a line, without what is empty."""
    for page in pages:
        lines = ({name: value for name, value in _values(test).items() if value not in (None, [])} for test in page)
        yield "".join(f"{_compact(line)}\n" for line in lines)


def csv_of_results(pages: Pages, *, raw: bool) -> Iterator[str]:
    """Yield a CSV file of results, made safe for spreadsheets unless `raw`."""
    yield _csv_lines([RESULT_COLUMNS], raw=True)
    for page in pages:
        yield _csv_lines((_result_cells(result) for result in page), raw=raw)


def junit_of_results(summary: RunSummary, pages: Pages) -> Iterator[str]:
    """Yield a JUnit XML report: one suite, one case for each test; what forbids it in XML 1.0 becomes U+FFFD.

    The counts are those of the moment it began; a run that still goes on may yield more cases.
    """
    counts = f'tests="{summary.results}" failures="{summary.failed}" errors="{summary.errors}"'
    times = f'time="{summary.seconds:.3f}"'
    if summary.started_at is not None:
        times += f' timestamp="{summary.started_at.isoformat()}"'
    suite = summary.name or str(summary.test_run_id)
    yield (
        f"{_XML_HEAD}<testsuites {counts}>\n<testsuite name={_attribute(suite)} {counts} {times}>\n"
        f'<properties><property name="test_run_id" value="{summary.test_run_id}"/>'
        f'<property name="status" value={_attribute(summary.status)}/></properties>\n'
    )
    for page in pages:
        yield "".join(_case(suite, result) for result in page)
    yield "</testsuite>\n</testsuites>\n"


def _case(suite: str, result: ReportedResult) -> str:
    name = f"{result.external_id or result.test_id}: {_title(result.prompt or 'deleted test')}"
    head = (
        f'<testcase classname={_attribute(suite)} name={_attribute(name)} time="{result.execution_time_ms / 1000:.3f}"'
    )
    if result.status == ResultStatus.PASS:
        return f"{head}/>\n"
    kind = "error" if result.status == ResultStatus.ERROR else "failure"
    reasons = _reasons(result)
    message = reasons[0] if reasons else result.error_type or kind
    details = "\n".join([*reasons, f"output: {_output(result)}"])
    return (
        f"{head}><{kind} message={_attribute(message)} type={_attribute(result.error_type or 'metric')}>"
        f"{_text(details)}</{kind}></testcase>\n"
    )


def _reasons(result: ReportedResult) -> list[str]:
    metrics = result.test_metrics.get("metrics")
    found = [f"{result.error_type}: {_error(result)}"] if result.status == ResultStatus.ERROR else []
    for name, metric in metrics.items() if isinstance(metrics, Mapping) else ():
        if isinstance(metric, Mapping) and metric.get("is_successful") is not True:
            found.append(f"{name}: {metric.get('error') or metric.get('reason') or 'not successful'}")
    return found


def _values(test: Test) -> dict[str, Any]:
    values = {
        "id": test.external_id,
        "prompt": test.prompt,
        "expected_response": test.expected_response,
        "behaviour": test.behaviour,
        "metrics": test.metrics,
        "priority": test.priority,
        "language_code": test.language_code,
    }
    return {name: values[name] for name in COLUMNS}


def _result_cells(result: ReportedResult) -> list[str | float]:
    values = {
        "test_id": str(result.test_id),
        "id": result.external_id,
        "prompt": result.prompt,
        "expected_response": result.expected_response,
        "behaviour": result.behaviour,
        "status": result.status,
        "error_type": result.error_type,
        "error": _error(result),
        "execution_time_ms": result.execution_time_ms,
        "output": _output(result),
        "metrics": result.test_metrics.get("metrics"),
    }
    return _cells({name: values[name] for name in RESULT_COLUMNS})


def _cells(values: Mapping[str, Any]) -> list[str | float]:
    return [_cell(value) for value in values.values()]


def _cell(value: Any) -> str | float:
    if isinstance(value, list | dict):
        return _compact(value) if value else ""
    return "" if value is None else value


def _csv_lines(rows: Iterable[Sequence[str | float]], *, raw: bool) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    for row in rows:
        writer.writerow(row if raw else [_harmless(cell) for cell in row])
    return text.getvalue()


def _harmless(cell: str | float) -> str | float:
    # A spreadsheet would run such a cell as a formula; a number of ours is only a number.
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA_STARTS) else cell


def _error(result: ReportedResult) -> str:
    if result.status != ResultStatus.ERROR:
        return ""
    message = result.test_output.get("message") or result.test_output.get("error")
    return message if isinstance(message, str) else ""


def _output(result: ReportedResult) -> str:
    output = result.test_output.get("output")
    return output if isinstance(output, str) else "" if output is None else _compact(output)


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _title(text: str) -> str:
    line = " ".join(text[: 4 * _TITLE_CHARACTERS].split())
    return line if len(line) <= _TITLE_CHARACTERS else line[:_TITLE_CHARACTERS] + "…"


def _allowed_in_xml(text: str) -> str:
    return _FORBIDDEN_IN_XML.sub("\ufffd", text)


def _attribute(text: str) -> str:
    return quoteattr(_allowed_in_xml(text))


def _text(text: str) -> str:
    return escape(_allowed_in_xml(text), {"\r": "&#13;"})
