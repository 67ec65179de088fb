"""The committed example tests are what their script writes, and make sense with the knowledge base."""

import csv
import io
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

from rhesis.backend.metrics.definitions import MetricContext
from rhesis.backend.metrics.evaluate import evaluate_all
from rhesis.backend.metrics.registry import check_definitions

_ASSISTANT = Path(__file__).resolve().parents[3] / "examples" / "assistant"


def _written(*arguments: str) -> bytes:
    command = [sys.executable, str(_ASSISTANT / "generate_tests.py"), *arguments, "--output", "-"]
    return subprocess.run(command, capture_output=True, check=True, timeout=60).stdout


def _rows() -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO((_ASSISTANT / "tests.csv").read_text(encoding="utf-8"))))


def test_the_file_is_what_its_script_writes() -> None:
    assert (_ASSISTANT / "tests.csv").read_bytes() == _written("--seed", "7")


def test_another_seed_writes_other_tests() -> None:
    assert _written("--seed", "8") != _written("--seed", "7")


def test_there_are_three_hundred_different_prompts_with_all_columns() -> None:
    rows = _rows()
    assert len({row["prompt"] for row in rows}) == 300
    assert set(rows[0]) == {"prompt", "expected_response", "behaviour", "metrics", "priority", "language_code"}
    assert Counter(row["language_code"] for row in rows).keys() == {"en", "de", "es"}


def test_every_metrics_cell_is_accepted_when_saved() -> None:
    for row in _rows():
        check_definitions(json.loads(row["metrics"]))


def test_each_fact_passes_its_metrics_when_right_and_fails_them_when_wrong() -> None:
    for fact in json.loads((_ASSISTANT / "knowledge.json").read_text(encoding="utf-8"))["facts"]:
        for answer, expected in ((fact["answer"], True), (fact["wrong"], False)):
            context = MetricContext("?", answer, {"output": answer}, fact["expected_response"] or None, 0.1, 200)
            results = evaluate_all(fact["metrics"], context)
            assert not any("error" in result for result in results.values()), fact["id"]
            assert all(result["is_successful"] for result in results.values()) is expected, fact["id"]
