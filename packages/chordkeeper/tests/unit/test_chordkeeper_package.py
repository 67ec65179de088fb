"""What the package offers to those who import it, and that its examples are true."""

import ast
import doctest
import importlib
import pkgutil
import re
import sys
from pathlib import Path

import pytest

import chordkeeper

MODULES = ["chordkeeper", *(found.name for found in pkgutil.walk_packages(chordkeeper.__path__, "chordkeeper."))]


def test_all_names_exactly_the_public_things_of_the_package() -> None:
    modules = {name.removeprefix("chordkeeper.").partition(".")[0] for name in MODULES}
    public = {name for name in vars(chordkeeper) if not name.startswith("_")} - modules
    assert set(chordkeeper.__all__) == public
    assert len(chordkeeper.__all__) == len(public)


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_are_true(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_the_model_has_examples() -> None:
    assert doctest.testmod(importlib.import_module("chordkeeper.model")).attempted > 0


@pytest.mark.parametrize("name", ["errors", "model"])
def test_the_words_need_nothing_but_the_standard_library(name: str) -> None:
    tree = ast.parse((Path(chordkeeper.__path__[0]) / f"{name}.py").read_text())
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    foreign = {module for module in imported if module.partition(".")[0] not in sys.stdlib_module_names}
    assert foreign <= {"chordkeeper.errors"}


def test_the_readmes_example_prints_what_the_readme_says(capsys: pytest.CaptureFixture[str]) -> None:
    readme = (Path(__file__).resolve().parents[2] / "README.md").read_text()
    (example,) = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    (output,) = re.findall(r"```text\n(.*?)```", readme, re.DOTALL)
    exec(compile(example, "README.md", "exec"), {})
    assert capsys.readouterr().out == output
