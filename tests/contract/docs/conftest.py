"""What a reader of the pages has at hand: a folder that looks like the checkout, and a service that runs."""

import hashlib
import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from support.api import add_token
from support.commands import RHESIS, running
from support.database import SECRET_KEY, TestDatabase, created_database
from support.documents import PROJECT
from support.http_endpoint import serve_endpoint
from support.world import add_world

_COPIED = ("Makefile", "dev.py", "start-worker.sh", "pyproject.toml")
_LINKED = ("examples", "requirements", "packages")


def make_checkout(folder: Path) -> Path:
    """Make a folder in which commands work as in the checkout just after its installation.

    Its `.venv` is this very environment under another path, with a stamp of its own that says that nothing is to be
    installed: no command of a page may change an environment.
    """
    for name in _COPIED:
        shutil.copy(PROJECT / name, folder / name)
    for name in _LINKED:
        (folder / name).symlink_to(PROJECT / name)
    environment = folder / ".venv"
    environment.mkdir()
    for name in ("bin", "lib", "pyvenv.cfg"):
        (environment / name).symlink_to(Path(sys.prefix) / name)
    names = ("requirements/run.txt", "requirements/dev.txt", "pyproject.toml", "packages/chordkeeper/pyproject.toml")
    inputs = hashlib.sha256(b"\0".join((PROJECT / name).read_bytes() for name in names)).hexdigest()
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    stamp = {"kind": "dev", "inputs": inputs, "root": str(folder.resolve()), "python": version}
    (environment / "installed.json").write_text(json.dumps(stamp))
    return folder


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    return make_checkout(tmp_path)


@dataclass(frozen=True)
class Service:
    """A service on a database of its own; `variables` are what its users have in their environment."""

    database: TestDatabase
    variables: dict[str, str] = field(default_factory=dict)


@pytest.fixture(scope="module")
def service(server_url: str, template_name: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Run the API over an endpoint that answers every test well; no worker runs until a page starts one."""
    with (
        created_database(server_url, kind="docs", template=template_name) as url,
        serve_endpoint() as endpoint,
    ):
        database = TestDatabase(url)
        tenant = database.add_tenant("readers")
        world = add_world(database, tenant, prompts=["a", "b"], url=endpoint.url)
        variables = {
            "DATABASE_URL": url,
            "RHESIS_SECRET_KEYS": SECRET_KEY,
            "RHESIS_ALLOWED_NETWORKS": "127.0.0.0/8",
            "CELERY_WORKER_CONCURRENCY": "2",
            "RHESIS_TOKEN": add_token(database, tenant),
            "CONFIGURATION": str(world.configuration_id),
            "ORGANIZATION_ID": str(tenant.organization_id),
            "USER_ID": str(tenant.user_id),
        }
        folder = tmp_path_factory.mktemp("api")
        with running(*RHESIS, "api", "--port", "0", folder=folder, **variables) as api:
            address = api.waits_for("listening on").rpartition(" ")[2].strip()
            yield Service(database, variables | {"RHESIS_API_URL": address})
        for stream in (api.process.stdout, api.process.stderr):
            stream.close()
