"""What the repository check finds and leaves alone. Offending text is put together here, so that this file is clean."""

import importlib.util
import subprocess
import sys
from pathlib import Path, PurePosixPath
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[3]
HASH = " \\\n    --hash=sha256:00\n"


def load_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("check_repository", ROOT / "scripts" / "check_repository.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["check_repository"] = module  # its dataclass looks up its own module
    spec.loader.exec_module(module)
    return module


check = load_script()


def file(path: str, text: str):
    return check.TrackedFile(PurePosixPath(path), text)


def locks(*, run_in="celery==5.7.0\n", run_txt="", dev_txt=""):
    run_txt = run_txt or "celery==5.7.0" + HASH
    return [
        file("requirements/run.in", run_in),
        file("requirements/run.txt", run_txt),
        file("requirements/dev.in", "-r run.in\n"),
        file("requirements/dev.txt", dev_txt or run_txt),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "see https:/" + "/pypi.org/project/celery",
        "https:/" + "/files.pythonhosted.org/packages/a",
        "url = http:/" + "/mirror.example/root/simple/",
        "registry=https:/" + "/registry.npmjs.org",
        "https:/" + "/files.example/celery-5.7.0-py3-none-any.whl",
        "--extra-" + "index-url mirror",
        "--find-" + "links /opt/wheels",
    ],
)
def test_an_address_of_a_package_index_is_found_with_its_line(text: str) -> None:
    (finding,) = check.find_registry_addresses([file("a.md", "first line\n" + text)])
    assert finding.startswith("a.md:2: address of a package index: ")


def test_an_ordinary_address_is_no_package_index() -> None:
    text = "https://docs.celeryq.dev/en/stable and http://127.0.0.1:8000/simple-runs"
    assert not list(check.find_registry_addresses([file("a.md", text)]))


@pytest.mark.parametrize("path", ["work/main", "root/.cache", "home/ada/project", "Users/ada/project"])
def test_a_path_of_one_machine_is_found(path: str) -> None:
    (finding,) = check.find_machine_paths([file("src/a.py", f"HERE = '/{path}'")])
    assert finding.startswith("src/a.py:1: path of one machine: /")


@pytest.mark.parametrize(
    "text", ["src/work/main", "https://example.org/home/ada/x", "/workers/", "~/work/x", "/var/lib/rhesis"]
)
def test_a_path_that_any_machine_may_have_is_left_alone(text: str) -> None:
    assert not list(check.find_machine_paths([file("docs/a.md", text)]))


def test_a_manual_may_name_the_readers_home_but_code_may_not() -> None:
    text = "/home/" + "you/rhesis"
    assert not list(check.find_machine_paths([file("docs/a.md", text)]))
    assert list(check.find_machine_paths([file("src/a.py", text)]))


@pytest.mark.parametrize("text", ["as N" + "04 says", "FIX" + "ME later", "<" * 7 + " HEAD"])
def test_a_reference_nobody_can_follow_is_found(text: str) -> None:
    (finding,) = check.find_stray_words([file("src/a.py", f"x = 1\n{text}")])
    assert finding.startswith("src/a.py:2: does not belong here: ")


@pytest.mark.parametrize("text", ["S105", "42P01", "PA04", "D25", "F09", "p99", "SHA-N04"])
def test_a_rule_of_the_linter_and_an_error_code_are_no_stray_words(text: str) -> None:
    assert not list(check.find_stray_words([file("src/a.py", text)]))


def test_the_page_that_maps_names_may_use_the_other_names() -> None:
    text = "P" + "47"
    assert list(check.find_stray_words([file("docs/reference/json.md", text)]))
    assert not list(check.find_stray_words([file("docs/reference/product-names.md", text)]))


def test_locks_that_hold_what_is_asked_for_are_in_order() -> None:
    text = "celery==5.7.0" + HASH + "psycopg[pool]==3.3.9" + HASH + "python-dotenv==1.2.4 ; os_name == 'posix'" + HASH
    wanted = "# a comment\ncelery==5.7.0\npsycopg[binary,pool]==3.3.9\nPython_DotEnv ; os_name == 'posix'\n"
    assert not list(check.find_lock_differences(locks(run_in=wanted, run_txt=text)))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"run_in": "celery==5.7.1\n"}, "requirements/run.txt: has 5.7.0, run.in asks for celery==5.7.1"),
        ({"run_in": "celery==5.7.0\nrich\n"}, "requirements/run.txt: has no rich, run.in asks for rich"),
        ({"run_txt": "celery==5.7.0\n"}, "requirements/run.txt: no hash for celery==5.7.0"),
        (
            {"dev_txt": "celery==5.6.0" + HASH},
            "requirements/dev.txt: has celery 5.6.0, run.txt has 5.7.0; run: make lock",
        ),
    ],
)
def test_a_lock_that_differs_from_what_is_asked_for_is_found(change: dict[str, str], expected: str) -> None:
    assert expected in list(check.find_lock_differences(locks(**change)))


def test_links_to_files_folders_and_headings_that_exist_are_in_order() -> None:
    page = """
[a](other.md) [b](other.md#two-words--and-a-dash) [c](#here) [d](../../src/) [e](/src/a.py)
[f](https://example.org/x#y) [g](other.md#twice-1) ![h](<picture.svg> "title") [`code`](other.md#anchor)
[k]: other.md

## `Here`
"""
    other = "# Two words — and a dash\n## Twice\n## Twice\n<a id='anchor'></a>\n"
    files = [
        file("docs/how-to/page.md", page),
        file("docs/how-to/other.md", other),
        file("docs/how-to/picture.svg", ""),
        file("src/a.py", ""),
    ]
    assert not list(check.find_broken_links(files))


@pytest.mark.parametrize(
    ("link", "problem"),
    [
        ("[a](gone.md)", "no such file: gone.md"),
        ("[a](../../../out.md)", "no such file: ../../../out.md"),
        ("[a](#nowhere)", "no such heading: #nowhere"),
        ("[a]: README.md#nowhere", "no such heading: README.md#nowhere"),
    ],
)
def test_a_link_that_leads_nowhere_is_found(link: str, problem: str) -> None:
    assert list(check.find_broken_links([file("README.md", f"# Title\n\n{link}\n")])) == [f"README.md:3: {problem}"]


def test_a_heading_or_a_link_inside_code_does_not_count() -> None:
    page = "```sh\n# nowhere\n[a](gone.md)\n```\n~~~\n[a](gone.md)\n~~~\n`[b](gone.md)`\n[c](#nowhere)\n"
    assert list(check.find_broken_links([file("docs/a.md", page)])) == ["docs/a.md:9: no such heading: #nowhere"]


def test_links_of_pages_outside_the_documents_are_not_judged() -> None:
    assert not list(check.find_broken_links([file("changelog.d/+a.feature.md", "[a](gone.md)")]))


def function_of(lines: int) -> str:
    return "async def long():\n" + "    x = 1\n" * (lines - 1)


@pytest.mark.parametrize("path", ["src/a/b.py", "packages/chordkeeper/src/chordkeeper/b.py"])
def test_product_files_and_functions_have_a_greatest_size(path: str) -> None:
    assert not list(check.find_oversize([file(path, function_of(60) + "y = 1\n" * 340)]))
    assert list(check.find_oversize([file(path, function_of(61))])) == [f"{path}:1: long has 61 lines, at most 60"]
    assert list(check.find_oversize([file(path, "y = 1\n" * 401)])) == [f"{path}: 401 lines, at most 400"]


def test_the_size_of_a_test_file_is_not_judged() -> None:
    assert not list(check.find_oversize([file("tests/unit/test_a.py", "y = 1\n" * 401)]))


def test_only_tracked_text_files_that_exist_are_read(tmp_path: Path) -> None:
    def git(*words: str) -> None:
        subprocess.run(["git", *words], cwd=tmp_path, check=True, capture_output=True)

    for name, content in {"kept.md": b"text", "picture.png": b"\xff\xfe", "deleted.md": b"", "new.md": b""}.items():
        (tmp_path / name).write_bytes(content)
    git("init", "-q")
    git("add", "kept.md", "picture.png", "deleted.md")
    (tmp_path / "deleted.md").unlink()
    assert [(str(found.path), found.text) for found in check.read_tracked(tmp_path)] == [("kept.md", "text")]


def test_a_folder_that_is_no_checkout_is_named_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(SystemExit, match="not a git repository"):
        check.read_tracked(tmp_path)


def test_findings_are_printed_and_fail_the_command(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(check, "read_tracked", lambda _root: [*locks(), file("README.md", "[a](gone.md)")])
    assert check.main() == 1
    assert "README.md:1: no such file: gone.md\nrepository: 5 files, 1 findings" in capsys.readouterr().out


def test_a_repository_in_order_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "read_tracked", lambda _root: locks())
    assert check.main() == 0
