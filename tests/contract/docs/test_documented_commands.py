"""Every command of the guides is typed into a shell as it stands, against a service that runs, and has to succeed."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.documents import DOCS, PROJECT, Block, Terminal, blocks, pages, replacements, with_replacements
from support.servers import absent
from support.waiting import eventually

GUIDES = DOCS / "how-to"
# Pages whose commands are typed by another test, which starts what they need.
ELSEWHERE = {"docs/tutorial/first-run.md", "docs/how-to/run-on-a-postgresql-server.md"}
TYPED_HERE = [
    page for page in pages() if page.relative_to(PROJECT).as_posix() not in ELSEWHERE and blocks(page, "bash")
]
WORKER = Block(
    "a worker for this page",
    0,
    "bash",
    "celery -A rhesis.backend.worker.app worker -P threads -c 4 --loglevel=INFO &\n",
)
# Their commands wait for a run to end.
NEED_A_WORKER = {"README.md", "run-in-ci.md"}
WORKERS_OF = {"chord-management.md": ("recovered",), "background-tasks.md": ("celery", "execution")}


@pytest.fixture
def desk(checkout: Path, service):
    """Return a folder and variables as the pages' first lines ask for, with a run of its own that waits for a worker."""
    for program in ("curl", "bash"):
        if shutil.which(program) is None:
            absent(f"{program} is not installed")
    header = checkout / "auth.header"
    header.write_text(f"Authorization: Bearer {service.variables['RHESIS_TOKEN']}\n")
    shutil.copy(PROJECT / "examples" / "assistant" / "tests.csv", checkout / "tests.csv")
    (checkout / "celery_worker.log").write_text("nothing yet\n")
    submitted = Block(
        "a run for this page",
        0,
        "bash",
        'curl -sf -X POST -H @auth.header "$RHESIS_API_URL/test_configurations/$CONFIGURATION/execute"\n',
    )
    with Terminal(checkout, service.variables, name="setting") as terminal:
        answer = terminal.type(submitted)
    found = dict(re.findall(r'"(task_id|test_run_id)":"([^"]+)"', answer))
    return checkout, service.variables | {"RUN": found["test_run_id"], "TASK": found["task_id"]}


@pytest.mark.parametrize("page", TYPED_HERE, ids=lambda page: page.name)
def test_a_page_can_be_followed_from_its_first_command_to_its_last(page: Path, desk, service) -> None:
    folder, variables = desk
    with Terminal(folder, variables) as terminal:
        if page.name in NEED_A_WORKER:
            terminal.type(WORKER)
        typed = "".join(terminal.type(with_replacements(block)) and block.code for block in blocks(page, "bash"))
        # What was left to run in the background has to have come up.
        for name in WORKERS_OF.get(page.name, ()):
            eventually(
                lambda name=name: _has_beaten(service, name),
                within=40,
                what=f"worker {name}: {terminal.screen()[-3000:]}",
            )
        assert not re.search(r"Exit [1-9]|Aborted|Killed", terminal.type(Block("jobs", 0, "bash", "jobs -l\n"))), typed


def _has_beaten(service, name: str) -> bool:
    return bool(service.database.fetch("SELECT 1 FROM rhesis.worker_heartbeat WHERE name LIKE %s", f"{name}@%"))


def test_every_page_with_commands_is_typed_somewhere() -> None:
    assert len(TYPED_HERE) >= 5
    assert all((PROJECT / name).is_file() for name in ELSEWHERE)


def test_every_exception_is_a_command_of_some_page() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in pages())
    assert [command for command in replacements() if text.count(command) < 2] == [], "in the table and on a page"


def test_a_command_in_a_line_of_cron_works(desk) -> None:
    folder, variables = desk
    lines = [line for page in pages() for block in blocks(page, "crontab") for line in block.code.splitlines()]
    assert lines
    for line in lines:
        minute, command = line.split()[0], line.split(maxsplit=5)[5]
        assert minute == "*/15"
        with Terminal(folder, variables) as terminal:
            typed = Block("crontab", 1, "bash", command.replace("/path/to/checkout", str(folder)) + "\n")
            assert "failed" not in terminal.type(typed)


def test_what_a_ci_file_runs_is_what_the_page_explains() -> None:
    page = GUIDES / "run-in-ci.md"
    explained = blocks(page, "bash")[0].code.strip()
    written = [
        line.split("- ", 1)[1].removeprefix("run: ")
        for block in blocks(page, "yaml")
        for line in block.code.splitlines()
        if "rhesis run" in line
    ]
    assert written == [explained, explained]


def test_statements_of_the_pages_are_accepted_by_the_database(service) -> None:
    statements = blocks(GUIDES / "worker-troubleshooting.md", "sql")
    assert statements
    for block in statements:
        assert service.database.fetch(block.code) == [(None,)]


PYTHON = [block for page in pages() for block in blocks(page, "python") if page.name != "metrics.md"]
USED = {
    "count_published": "print(count_published.apply(headers=HEADERS).get())",
    "count_by_hand": "print(count_by_hand.apply(headers=HEADERS).get())",
    "launch_echo": "print(launch_echo(Actor(UUID(os.environ['USER_ID']), UUID(os.environ['ORGANIZATION_ID']))))",
    "chord(": "print(job.id)",
}
PRELUDE = """
import os
from uuid import UUID
HEADERS = {"organization_id": os.environ["ORGANIZATION_ID"], "user_id": os.environ["USER_ID"]}
"""


@pytest.mark.parametrize("block", PYTHON, ids=str)
def test_an_example_in_python_runs(block: Block, desk) -> None:
    folder, variables = desk
    uses = [use for name, use in USED.items() if name in block.code]
    assert uses, "an example that is only read proves nothing"
    with Terminal(folder, variables) as terminal:
        (folder / "example.py").write_text(f"{block.code}{PRELUDE}{uses[0]}\n")
        printed = terminal.type(Block(str(block), 1, "bash", f"{sys.executable} example.py\n"))
    assert printed.strip()


def test_no_shell_command_hides_in_a_block_of_another_name() -> None:
    """Blocks of other languages are text, data or Python; a command in one of them would not be typed by any test."""
    known = {"bash", "text", "json", "python", "sql", "yaml", "toml", "crontab"}
    found = {
        (page.name, language)
        for page in pages()
        for language in re.findall(r"^ *```(\w+)$", page.read_text(), re.MULTILINE)
    }
    assert {language for name, language in found if (name, language) != ("README.md", "sh")} <= known
    for page in pages():
        for block in blocks(page, "text"):
            assert not re.search(r"^(rhesis|celery|python|curl|make) ", block.code, re.MULTILINE), block


def test_the_shell_of_the_tests_notices_a_command_that_fails(tmp_path: Path) -> None:
    with Terminal(tmp_path, {}) as terminal, pytest.raises(AssertionError, match="failed"):
        terminal.type(Block("a page", 1, "bash", "false\n"))


def test_the_shell_of_the_tests_leaves_nothing_running(tmp_path: Path) -> None:
    with Terminal(tmp_path, {}) as terminal:
        identifier = terminal.type(Block("a page", 1, "bash", "sleep 600 &\necho $!\n")).strip()
    assert subprocess.run(["kill", "-0", identifier], capture_output=True, check=False).returncode != 0
