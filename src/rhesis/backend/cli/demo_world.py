"""What the demo makes through the API: an endpoint, a test set and a configuration that joins them."""

import csv
from itertools import islice
from pathlib import Path

from rhesis.backend.app.services import identity
from rhesis.backend.cli.api_client import ApiClient
from rhesis.backend.cli.failures import CommandFailed
from rhesis.backend.cli.first_run import save_token
from rhesis.backend.settings import project_root

MAX_TESTS = 300
_EMAIL = "demo@example.org"
_ENDPOINT = {"name": "Example assistant", "response_mappings": {"output": "$.output"}}


def examples() -> Path:
    """Return the folder of the example assistant."""
    root = project_root()
    folder = root / "examples" / "assistant" if root else None
    if folder is None or not folder.is_dir():
        raise CommandFailed("the demo needs examples/assistant, which only a checkout has: run it there")
    return folder


def make_user() -> str:
    """Make the demo's organization and user, and return his token, which is also kept in the home."""
    organization = identity.create_organization("Demo")
    user = identity.create_user(organization.id, _EMAIL, name="Demo", is_superuser=True)
    created = identity.create_token(user.id, name="demo")
    save_token(created.plain)
    return created.plain


def make_configuration(api: ApiClient, assistant: str, tests: Path) -> str:
    """Make everything that a run needs and return the configuration's id."""
    endpoint = api.post("/endpoints", {**_ENDPOINT, "url": f"{assistant}/chat"})
    made = api.upload("/test_sets/import", tests, "text/csv", name="Example questions")
    wanted = {"name": "Demo", "endpoint_id": endpoint["id"], "test_set_id": made["test_set"]["id"]}
    return str(api.post("/test_configurations", wanted)["id"])


def first_tests(source: Path, count: int, target: Path) -> Path:
    """Return a file of the first `count` tests: the source itself when it has no more."""
    if count >= MAX_TESTS:
        return source
    with source.open(encoding="utf-8", newline="") as rows, target.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(islice(csv.reader(rows), count + 1))
    return target
