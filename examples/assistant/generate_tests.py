"""Write the 300 example tests from the knowledge base, always the same for one seed.

python examples/assistant/generate_tests.py --seed 7 [--output PATH | --output -]
"""

import argparse
import csv
import io
import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
COLUMNS = ("prompt", "expected_response", "behaviour", "metrics", "priority", "language_code")
LATENCY_METRIC = {"name": "max_latency", "parameters": {"seconds": 10}}
SHARE_WITH_LATENCY = 0.25
LEAD_INS = {
    "en": (
        "Hello! ",
        "Quick question: ",
        "I am in a hurry. ",
        "My colleague told me to ask you. ",
        "Sorry to bother you again. ",
        "I could not find this on your website. ",
    ),
    "de": ("Guten Tag! ", "Kurze Frage: "),
    "es": ("¡Buenos días! ", "Una pregunta rápida: "),
}


def rows(seed: int) -> list[dict[str, str]]:
    """Return two tests for each question: as it stands, and the way a customer might begin it."""
    chance = random.Random(seed)
    knowledge = json.loads((HERE / "knowledge.json").read_text(encoding="utf-8"))
    tests = [row for fact in knowledge["facts"] for row in _rows_of(fact, chance)]
    chance.shuffle(tests)
    return tests


def _rows_of(fact: dict[str, Any], chance: random.Random) -> Iterator[dict[str, str]]:
    language = fact["language_code"]
    for question in fact["questions"]:
        for prompt in (question, chance.choice(LEAD_INS[language]) + question):
            metrics = [*fact["metrics"], *([LATENCY_METRIC] if chance.random() < SHARE_WITH_LATENCY else [])]
            yield {
                "prompt": prompt,
                "expected_response": fact["expected_response"],
                "behaviour": fact["behaviour"],
                "metrics": json.dumps(metrics, ensure_ascii=False),
                "priority": str(1 if fact["behaviour"] == "Compliance" else chance.choice((2, 3))),
                "language_code": language,
            }


def as_csv(tests: list[dict[str, str]]) -> str:
    """Return the tests as CSV with one header line."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(tests)
    return text.getvalue()


def main(argv: list[str] | None = None) -> int:
    """Write the file, or print it when the output is `-`."""
    parser = argparse.ArgumentParser(description="Write the example tests.")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--output", default=str(HERE / "tests.csv"), help="a path, or - for standard output")
    arguments = parser.parse_args(argv)
    text = as_csv(rows(arguments.seed))
    if arguments.output == "-":
        sys.stdout.buffer.write(text.encode())
    else:
        Path(arguments.output).write_text(text, encoding="utf-8", newline="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
