"""Settings come from the variables they name and from nothing else."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import AliasChoices

from rhesis.backend.errors import ConfigurationError
from rhesis.backend.settings import Settings, environment_file, get_settings
from support.database import environment


def test_a_variable_that_only_looks_like_a_field_is_not_read():
    """Every shell sets HOME; it is not the folder of the database."""
    with environment(HOME="/somewhere", TOKEN="secret", RHESIS_HOME=None, RHESIS_TOKEN=None):
        assert get_settings().home is None
        assert get_settings().token is None


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_every_setting_names_its_variables_and_says_what_it_is(name):
    field = Settings.model_fields[name]
    assert isinstance(field.validation_alias, AliasChoices)
    assert all(str(choice).isupper() for choice in field.validation_alias.choices)
    assert field.description


def test_the_alias_of_the_database_url_is_read():
    with environment(DATABASE_URL=None, SQLALCHEMY_DATABASE_URL="postgresql://db/x"):
        assert get_settings().database_url.get_secret_value() == "postgresql://db/x"


def test_a_bad_value_is_refused_by_the_name_of_its_variable_and_not_shown():
    with environment(RHESIS_EXECUTION_CONCURRENCY="many-secret"), pytest.raises(ConfigurationError) as caught:
        get_settings()
    assert "RHESIS_EXECUTION_CONCURRENCY" in str(caught.value)
    assert "many-secret" not in str(caught.value)


def test_a_network_that_is_none_is_refused_in_one_line():
    with environment(RHESIS_ALLOWED_NETWORKS="not-a-network"), pytest.raises(ConfigurationError) as caught:
        get_settings()
    assert "\n" not in str(caught.value)


def test_an_empty_variable_counts_as_unset():
    with environment(RHESIS_HOME="", BROKER_URL=""):
        assert get_settings().home is None
        assert get_settings().broker_url is None


def test_settings_cannot_be_changed_and_do_not_show_secrets():
    with environment(DATABASE_URL="postgresql://me:very-secret@db/x"):
        settings = get_settings()
        assert "very-secret" not in repr(settings)
        with pytest.raises(Exception, match="frozen"):
            settings.log_level = "DEBUG"


def test_results_outlive_every_deadline():
    with environment(DATABASE_URL="postgresql://db/x"):
        assert get_settings().result_expires_seconds > 86_400


def test_no_environment_file_is_read_under_pytest_nor_in_what_it_starts(project: Path):
    """A developer's `.env` may name a production database; tests create and drop databases."""
    program = "from rhesis.backend.settings import environment_file; print(environment_file())"
    assert environment_file() is None
    assert "PYTEST_VERSION" in os.environ
    printed = subprocess.run([sys.executable, "-c", program], cwd=project, capture_output=True, text=True, check=True)
    assert printed.stdout.strip() == "None"


def test_outside_of_tests_the_environment_file_lies_in_the_projects_root(project: Path, tmp_path: Path):
    """Wherever the command runs: a second `.env` in the working directory is not read."""
    (tmp_path / ".env").write_text("RHESIS_LOG_LEVEL=FROM_CWD\n")
    program = "from rhesis.backend.settings import project_root; print(project_root())"
    variables = {name: value for name, value in os.environ.items() if name != "PYTEST_VERSION"}
    printed = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True, env=variables
    )
    assert Path(printed.stdout.strip()) == project


def test_only_the_settings_read_the_environment(project: Path):
    """The CLI hands variables on to its children; nothing else of the product looks at them."""
    allowed = {"settings.py", "cli/environment.py"}
    sources = project / "src/rhesis/backend"
    readers = {
        str(path.relative_to(sources))
        for path in sources.rglob("*.py")
        if "os.environ" in path.read_text() or "os.getenv" in path.read_text()
    }
    assert readers <= allowed
