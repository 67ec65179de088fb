"""`import`, `run` and `results` against a served API and a real worker: their output, and every exit code."""

import csv
import io
import json
import signal
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID, uuid4
from xml.etree import ElementTree as ET

import pytest

from support.api import add_token
from support.commands import RHESIS, rhesis, running, succeeded
from support.database import Tenant, TestDatabase
from support.http_endpoint import HttpEndpoint, serve_endpoint
from support.processes import celery_worker
from support.waiting import eventually
from support.world import add_world


@dataclass(frozen=True)
class Api:
    """A served API and how a command reaches it. No command gets a database."""

    database: TestDatabase
    tenant: Tenant
    url: str
    token: str

    @property
    def variables(self) -> dict[str, str]:
        nowhere = "postgresql://127.0.0.1:9/none"
        return {"RHESIS_API_URL": self.url, "RHESIS_TOKEN": self.token, "DATABASE_URL": nowhere}


@pytest.fixture
def api(database: TestDatabase, tenant: Tenant, tmp_path) -> Iterator[Api]:
    with running(*RHESIS, "api", "--port", "0", folder=tmp_path) as server:
        server.waits_for("listening on")
        url = eventually(lambda: next(iter(server.out), ""), within=10, what="the address on stdout").strip()
        yield Api(database, tenant, url, add_token(database, tenant))


@pytest.fixture
def endpoint() -> Iterator[HttpEndpoint]:
    with serve_endpoint() as served:
        yield served


@pytest.fixture
def worker(api: Api, tmp_path) -> Iterator[None]:
    with celery_worker(api.database, tmp_path, "-P", "threads", "-c", "8", RHESIS_TEST_TIMEOUT_SECONDS="20"):
        yield


def test_a_run_that_passes_exits_0_and_gives_its_results_in_every_form(api, endpoint, worker, tmp_path):
    world = add_world(api.database, api.tenant, prompts=["=one", "two"], url=endpoint.url)
    waited = rhesis("run", world.configuration_id, "--wait", "-o", "json", folder=tmp_path, **api.variables)
    counts = json.loads(succeeded(waited))
    assert (counts["status"], counts["passed"], counts["total"]) == ("Completed", 2, 2)
    assert "100 %" in waited.stderr
    assert api.token not in waited.stderr
    run_id = counts["test_run_id"]

    def results(*options: str) -> str:
        return succeeded(rhesis("results", run_id, *options, folder=tmp_path, **api.variables))

    assert {row["status"] for row in json.loads(results("-o", "json"))} == {"Pass"}
    rows = list(csv.DictReader(io.StringIO(results("--format", "csv"))))
    assert [row["prompt"] for row in rows] == ["'=one", "two"], "safe for spreadsheets"
    assert next(csv.DictReader(io.StringIO(results("-o", "csv", "--raw"))))["prompt"] == "=one"
    assert ET.fromstring(results("-o", "junit")).get("tests") == "2"
    assert results().splitlines()[0].split() == ["test", "status", "ms", "prompt", "reason"]


def test_a_run_with_a_failed_test_exits_1_and_still_prints_its_report(api, endpoint, worker, tmp_path):
    world = add_world(api.database, api.tenant, prompts=["one", "wrong two"], url=endpoint.url)
    result = rhesis("run", world.configuration_id, "--wait", "-o", "junit", folder=tmp_path, **api.variables)
    assert result.returncode == 1, result.stderr
    assert ET.fromstring(result.stdout).get("failures") == "1"


def test_a_run_in_which_a_test_could_not_be_executed_exits_1(api, endpoint, worker, tmp_path):
    world = add_world(api.database, api.tenant, prompts=["one", "error two"], url=endpoint.url)
    result = rhesis("run", world.configuration_id, "--wait", folder=tmp_path, **api.variables)
    assert result.returncode == 1, result.stderr
    assert result.stdout.splitlines()[1].split()[1:] == ["Partial", "2", "1", "0", "1"]


def test_waiting_is_over_after_the_timeout_with_3_and_the_run_goes_on(api, tmp_path):
    world = add_world(api.database, api.tenant, prompts=["one"])
    command = ("run", world.configuration_id, "--wait", "--timeout", "0.5", "--deadline", "600")
    result = rhesis(*command, folder=tmp_path, **api.variables)
    assert (result.returncode, result.stdout) == (3, ""), result.stderr
    assert "it goes on, rhesis results" in result.stderr
    [(status, seconds)] = api.database.fetch(
        "SELECT status, round(extract(epoch FROM deadline - created_at)) FROM rhesis.test_run"
    )
    assert (status, seconds) == ("Queued", 600)


def test_ctrl_c_stops_waiting_with_130_and_says_that_the_run_goes_on(api, tmp_path):
    world = add_world(api.database, api.tenant, prompts=["one"])
    with running(*RHESIS, "run", world.configuration_id, "--wait", folder=tmp_path, **api.variables) as command:
        command.waits_for("0 %")
        command.send(signal.SIGINT)
        assert command.ends() == 130
        line = command.waits_for("stopped waiting for run")
    assert "it goes on" in line
    assert not any("Traceback" in line for line in command.err)
    assert api.database.fetch("SELECT status FROM rhesis.test_run") == [("Queued",)]


def test_without_wait_the_id_of_the_run_is_printed_at_once(api, tmp_path):
    world = add_world(api.database, api.tenant, prompts=["one"])
    run_id = UUID(succeeded(rhesis("run", world.configuration_id, folder=tmp_path, **api.variables)))
    assert api.database.fetch("SELECT id FROM rhesis.test_run") == [(run_id,)]


def test_an_unknown_configuration_is_one_line_and_exit_code_1(api, tmp_path):
    result = rhesis("run", uuid4(), "--wait", folder=tmp_path, **api.variables)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.splitlines()[-1].endswith("is not there")


def test_an_api_that_does_not_answer_is_5(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    for command in (("run", uuid4(), "--wait"), ("results", uuid4())):
        result = rhesis(*command, folder=tmp_path, RHESIS_API_URL=url, RHESIS_TOKEN="rh_x")
        assert (result.returncode, result.stdout) == (5, ""), result.stderr
        assert f"{url} does not answer" in result.stderr
        assert "Traceback" not in result.stderr


def test_a_refused_token_is_one_line_that_does_not_show_it(api, tmp_path):
    variables = {**api.variables, "RHESIS_TOKEN": "rh_not_a_token"}
    result = rhesis("results", uuid4(), folder=tmp_path, **variables)
    assert result.returncode == 1
    assert "refused the token" in result.stderr
    assert "rh_not_a_token" not in result.stderr


def test_a_file_is_imported_whole_and_the_new_sets_id_is_printed(api, tmp_path):
    file = tmp_path / "tests.txt"
    file.write_text('{"prompt": "one"}\n{"prompt": "two"}\n')
    command = ("import", file, "--name", "Mine", "--format", "jsonl")
    set_id = UUID(succeeded(rhesis(*command, folder=tmp_path, **api.variables)))
    found = api.database.fetch(
        "SELECT name, (SELECT count(*) FROM rhesis.test_test_set WHERE test_set_id = s.id) FROM rhesis.test_set s WHERE id = %s",
        set_id,
    )
    assert found == [("Mine", 2)]


def test_a_broken_file_names_its_rows_and_leaves_nothing(api, tmp_path):
    file = tmp_path / "tests.csv"
    file.write_text("prompt\none\n\n  \n")
    result = rhesis("import", file, "--name", "Mine", folder=tmp_path, **api.variables)
    assert (result.returncode, result.stdout) == (1, "")
    assert "row 4: prompt is empty" in result.stderr.splitlines()[-1]
    assert api.database.fetch("SELECT FROM rhesis.test_set") == []


def test_a_file_of_an_unknown_kind_is_a_usage_error(tmp_path):
    file = tmp_path / "tests.txt"
    file.write_text("")
    assert rhesis("import", file, "--name", "Mine", folder=tmp_path).returncode == 2
