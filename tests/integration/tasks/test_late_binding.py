"""A task that was looked at while no configuration could be made works once it can be."""

import subprocess
import sys

from support.database import TestDatabase

_PROGRAM = """
import os, sys
from rhesis.backend.errors import RhesisError
from rhesis.backend.tasks import echo
try:
    echo.request_stack
except RhesisError:
    pass
else:
    sys.exit("looking at the task needed no configuration")
os.environ["DATABASE_URL"] = sys.argv[1]
from rhesis.backend.settings import get_settings
get_settings.cache_clear()
print(echo.apply(args=("hello",)).get())
"""


def test_a_task_is_bound_whole_or_not_at_all(database: TestDatabase, tmp_path, monkeypatch):
    monkeypatch.setenv("RHESIS_HOME", str(tmp_path / "nothing-here"))
    monkeypatch.delenv("DATABASE_URL")
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, database.url], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "Message: hello, Organization: unknown, User: unknown"
