"""The reference pages hold everything there is, and nothing that is not; the pages that others link to stay in place."""

import ast
import configparser
import importlib.util
import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import click
import pytest

from rhesis.backend.app.main import create_app
from rhesis.backend.cli.main import cli
from rhesis.backend.domain.task_names import COLLECT_RESULTS
from rhesis.backend.settings import Settings
from rhesis.backend.worker import celery_configuration
from support.documents import DOCS, PRODUCT_NAMES, PROJECT, blocks, pages, sections

SOURCE = PROJECT / "src" / "rhesis" / "backend"
# Raised in the command line and in workers alone, where no HTTP answer is made of them.
NOT_IN_ANSWERS = {
    "api_busy",
    "api_unreachable",
    "command_failed",
    "error",
    "unexpected_failure",
    "missing_roles",
    "no_heartbeat",
    "outgoing",
    "run_ended",
    "tenant_mismatch",
    "wait_timed_out",
}


def load_script(name: str) -> ModuleType:
    specification = importlib.util.spec_from_file_location(name, PROJECT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_the_configuration_page_is_what_the_settings_say() -> None:
    script = load_script("write_configuration_reference")
    assert script.PAGE.read_text(encoding="utf-8") == script.render(), "run scripts/write_configuration_reference.py"


def test_a_setting_without_a_section_is_not_left_out_silently() -> None:
    script = load_script("write_configuration_reference")

    class Larger(Settings):
        newcomer: str = ""

    with pytest.raises(script.UndocumentedSetting, match="newcomer"):
        script.render(Larger)


def test_every_variable_that_a_page_names_is_one_that_is_read() -> None:
    known = {
        name
        for field in Settings.model_fields.values()
        for name in load_script("write_configuration_reference").variables_of(field)
    }
    known |= {"RHESIS_TEST_DATABASE_URL"}
    named = {
        (page.name, name)
        for page in pages()
        for name in re.findall(r"\b(?:RHESIS|CELERY_WORKER)_[A-Z_]+[A-Z]\b", page.read_text())
    }
    assert [(page, name) for page, name in sorted(named) if name not in known] == []


def commands(group: click.Group, path: str = "rhesis") -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


def shown_options(command: click.Command) -> list[str]:
    return [
        option
        for parameter in command.params
        if isinstance(parameter, click.Option) and not parameter.hidden
        for option in (*parameter.opts, *parameter.secondary_opts)
    ]


@pytest.mark.parametrize(("path", "command"), list(commands(cli)), ids=lambda value: str(value).replace(" ", "-"))
def test_every_command_has_a_section_with_every_option(path: str, command: click.Command) -> None:
    found = {heading.strip("`"): text for heading, text in sections(DOCS / "reference" / "cli.md").items()}
    arguments = "".join(
        f" {one.make_metavar(click.Context(command))}" for one in command.params if isinstance(one, click.Argument)
    )
    text = found[f"{path}{arguments}"]
    documented = set(re.findall(r"^\| `(.+?)` \|", text.replace("`, `", "` | | `"), re.MULTILINE)) | set(
        re.findall(r"`(-[-\w]+)", text)
    )
    assert [option for option in shown_options(command) if option not in documented] == []
    in_table = set(re.findall(r"`(-[-\w]+)`", "".join(re.findall(r"^\| (`-.+?) \|", text, re.MULTILINE))))
    assert in_table <= set(shown_options(command)), "an option that does not exist"


def test_the_options_of_all_commands_are_on_the_page() -> None:
    text = sections(DOCS / "reference" / "cli.md")["Options of every command"]
    assert [option for option in shown_options(cli) if f"`{option}" not in text] == []


def test_the_page_of_the_command_line_has_no_section_of_a_command_that_is_gone() -> None:
    there = {path for path, _ in commands(cli)}
    named = {
        " ".join(re.findall(r"[a-z]+", heading))
        for heading in sections(DOCS / "reference" / "cli.md")
        if heading.startswith("`rhesis")
    }
    assert named == there


def test_the_page_of_the_api_lists_exactly_its_routes() -> None:
    described = create_app().openapi()["paths"]
    there = {f"{method.upper()} {path}" for path, methods in described.items() for method in methods}
    listed = re.findall(r"^\| `([A-Z]+ /[^`]*)` \|", (DOCS / "reference" / "api.md").read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(there)


def codes_in_source() -> set[str]:
    found = set()
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.keyword) and node.arg == "code" and isinstance(node.value, ast.Constant):
                found.add(node.value.value)
            if (
                isinstance(node, ast.Assign)
                and [getattr(target, "id", "") for target in node.targets] == ["code"]
                and isinstance(node.value, ast.Constant)
            ):
                found.add(node.value.value)
    return {code for code in found if isinstance(code, str)}


def test_every_code_of_an_error_is_on_the_page_of_the_api() -> None:
    text = (DOCS / "reference" / "api.md").read_text(encoding="utf-8")
    assert sorted(code for code in codes_in_source() - NOT_IN_ANSWERS if f"`{code}`" not in text) == []


def test_the_page_of_the_api_names_every_field_of_progress() -> None:
    text = sections(DOCS / "reference" / "api.md")["Progress"]
    fields = create_app().openapi()["components"]["schemas"]["Progress"]["properties"]
    assert [field for field in fields if f"`{field}`" not in text] == []


def test_every_example_in_json_is_json() -> None:
    for page in pages():
        for block in blocks(page, "json"):
            json.loads(block.code)


def test_the_table_of_celerys_settings_is_what_is_configured(database) -> None:
    table = sections(DOCS / "how-to" / "background-tasks.md")["Celery configuration"]
    rows = {
        name: value
        for names, value in re.findall(r"^\| (`.+?`) \| (.*?) \|", table, re.MULTILINE)
        for name in re.findall(r"`(\w+)`", names)
    }
    settings = celery_configuration()
    assert sorted(rows) == sorted(settings)
    for name in (
        "task_acks_late",
        "task_reject_on_worker_lost",
        "task_track_started",
        "task_send_sent_event",
        "worker_send_task_events",
    ):
        assert (rows[name], settings[name]) == ("on", True)
    assert rows["result_expires"].startswith(f"{settings['result_expires']:,} s")
    assert settings["task_annotations"] == {COLLECT_RESULTS: {"soft_time_limit": 600, "time_limit": 900}}
    assert rows["task_annotations"] == "`collect_results`: soft 600 s, hard 900 s"


def test_the_layers_that_are_shown_are_those_that_are_checked() -> None:
    checked = configparser.ConfigParser()
    checked.read(PROJECT / ".importlinter")
    layers = checked["importlinter:contract:service-layers"]["layers"].strip()
    assert [block.code.strip() for block in blocks(DOCS / "how-to" / "architecture.md", "text")][1] == layers


PRODUCT_LINKS = {
    "chord-management.md": (
        "Emergency recovery", "Monitoring script reference", "Common chord issues", "2. Chord never completing",
        "Task implementation best practices",
    ),
    "worker-troubleshooting.md": (),
    "background-tasks.md": (),
    "architecture.md": (),
}  # fmt: skip


def test_the_pages_that_the_product_links_to_have_their_anchors() -> None:
    for name, headings in PRODUCT_LINKS.items():
        found = sections(DOCS / "how-to" / name)
        assert [heading for heading in headings if heading not in found] == [], name


def test_links_between_pages_lead_somewhere() -> None:
    """Also those of pages that are not under version control yet, at which the check of the repository does not look."""
    script = load_script("check_repository")
    files = {
        path
        for folder in ("docs", "packages", "benchmarks", "changelog.d", "examples")
        for path in (PROJECT / folder).rglob("*")
        if path.is_file() and path.suffix in {".md", ".py"}
    }
    files |= {PROJECT / "README.md"}
    tracked = [
        script.TrackedFile(script.PurePosixPath(path.relative_to(PROJECT).as_posix()), path.read_text(encoding="utf-8"))
        for path in sorted(files)
    ]
    assert list(script.find_broken_links(tracked)) == []


ROW = re.compile(r"^\| ([A-Z]\d\d) \| (.*) \|$", re.MULTILINE)
TEST = re.compile(r"`([\w/]+\.py)::(\w+)`")


def named_rows() -> dict[str, str]:
    return dict(ROW.findall(PRODUCT_NAMES.read_text(encoding="utf-8")))


def test_no_name_of_this_part_is_missing() -> None:
    expected = {
        f"{letter}{number:02d}" for letter, last in (("V", 21), ("S", 17), ("N", 11)) for number in range(1, last + 1)
    }
    expected |= {f"P{number}" for number in range(21, 69)}
    assert sorted(expected - named_rows().keys()) == []


def test_every_name_is_shown_by_a_test_or_a_page() -> None:
    unshown = [name for name, row in named_rows().items() if not TEST.search(row) and "](" not in row]
    assert unshown == []


def functions_of(path: Path) -> set[str]:
    return {node.name for node in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(node, ast.FunctionDef)}


def test_every_test_that_is_named_exists() -> None:
    missing = []
    for name, row in named_rows().items():
        for file, function in TEST.findall(row):
            path = PROJECT / "tests" / file
            if not path.is_file() or function not in functions_of(path):
                missing.append((name, f"{file}::{function}"))
    assert missing == []


def test_the_files_that_stand_in_for_a_command_exist() -> None:
    table = sections(PRODUCT_NAMES)["Commands that are not run as typed"]
    assert [name for name in re.findall(r"`([\w/]+\.py)`", table) if not (PROJECT / "tests" / name).is_file()] == []


def test_every_decision_is_in_the_list_of_decisions() -> None:
    folder = DOCS / "explanation" / "decisions"
    listed = (folder / "README.md").read_text(encoding="utf-8")
    records = sorted(path.name for path in folder.glob("0*.md"))
    assert [name for name in records if f"({name})" not in listed] == []
    for name in records:
        found = [line for line in (folder / name).read_text().splitlines() if line.startswith(("# ", "## "))]
        assert found[0].startswith(f"# {name[:4]}: ")
        assert {"## Context", "## Decision", "## Consequences"} <= set(found)


def test_no_page_shows_an_id_of_another_vocabulary() -> None:
    for page in pages():
        if page != PRODUCT_NAMES:
            assert not re.search(r"(?<![\w./-])[PVSN]\d\d(?![\w-])", page.read_text(encoding="utf-8")), page
