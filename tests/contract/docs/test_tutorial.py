"""The tutorial works from its first command to its last, as typed, in two terminals."""

import csv
import shutil
from pathlib import Path

import pytest

from rhesis.backend.embedded import EmbeddedServer
from support.documents import DOCS, Terminal, blocks
from support.servers import absent

PAGE = DOCS / "tutorial" / "first-run.md"


@pytest.mark.timeout(180)
def test_the_tutorial_leads_from_nothing_to_the_results_of_ones_own_tests(checkout: Path) -> None:
    for program in ("curl", "make", "bash"):
        if shutil.which(program) is None:
            absent(f"{program} is not installed")
    first, *rest = blocks(PAGE, "bash")
    home = checkout / ".rhesis"
    variables = {"RHESIS_HOME": str(home)}
    with Terminal(checkout, variables, name="first") as service:
        try:
            service.start(first)
            screen = ""
            with Terminal(checkout, variables, name="second") as terminal:
                for block in rest:
                    screen += terminal.type(block, within=90)
            assert "ready at http://127.0.0.1:" in service.screen()
        finally:
            service.press_ctrl_c(within=30)
            EmbeddedServer(home).erase()
    for said in ("admin@localhost", "Completed      4       3       1       0", "exit code 1", "100 ml"):
        assert said in screen, screen[-4000:]
    with (checkout / "results.csv").open(encoding="utf-8") as file:
        assert sorted(row["status"] for row in csv.DictReader(file)) == ["Fail", "Pass", "Pass", "Pass"]
    assert (checkout / "results.xml").read_text(encoding="utf-8").count("<testcase ") == 4
