"""The commands' HTTP client against real servers that answer well, badly, or not at all."""

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from rhesis.backend.cli import api_client
from rhesis.backend.cli.api_client import ApiBusy, ApiClient
from rhesis.backend.cli.failures import ApiUnreachable, CommandFailed, WaitTimedOut
from rhesis.backend.cli.progress import Lines, follow
from rhesis.backend.cli.remote import result_rows
from support.database import environment

PROBLEM = "application/problem+json"
TOKEN = "rh_token"


@contextlib.contextmanager
def server(answer) -> Iterator[str]:
    """Serve `answer(path) -> (status, content type, bytes)` and yield the address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert self.headers["Authorization"] == f"Bearer {TOKEN}"
            status, media_type, body = answer(self.path)
            self.send_response(status)
            self.send_header("Content-Type", media_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    serving = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=serving.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{serving.server_address[1]}"
    finally:
        serving.shutdown()
        serving.server_close()
        thread.join(10)


def problem(status: int, **body: object) -> tuple[int, str, bytes]:
    return status, PROBLEM, json.dumps(body).encode()


def as_json(body: object) -> tuple[int, str, bytes]:
    return 200, "application/json", json.dumps(body).encode()


def asked(answer) -> object:
    with server(lambda _: answer) as url, ApiClient(url, TOKEN) as api:
        return api.get("/anything")


def test_an_answer_is_its_json():
    assert asked(as_json({"a": [1]})) == {"a": [1]}


def test_a_refused_token_is_said_without_the_token():
    with pytest.raises(CommandFailed, match="refused the token") as refused:
        asked(problem(401, detail="A valid token is needed."))
    assert TOKEN not in str(refused.value)


def test_what_is_wrong_is_told_in_one_line_with_the_first_ten_problems():
    errors = [{"where": f"row {number}", "message": "prompt is empty"} for number in range(12)]
    with pytest.raises(Exception, match="nothing was imported: row 0: prompt is empty") as refused:
        asked(problem(422, detail="nothing was imported.", errors=errors))
    assert str(refused.value).endswith("row 9: prompt is empty; and 2 more")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "answer", [(404, "text/html", b"<html>"), (200, "text/html", b"<html>"), (302, "text/plain", b"")]
)
def test_another_program_at_the_address_is_recognized(answer):
    with pytest.raises(CommandFailed, match="is not this API"):
        asked(answer)


def test_an_overloaded_api_is_told_from_a_refusal():
    with pytest.raises(ApiBusy):
        asked(problem(503, detail="The database is away."))


def test_an_api_that_does_not_answer_is_unreachable():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with (
        pytest.raises(ApiUnreachable, match=f"127.0.0.1:{port} does not answer"),
        ApiClient(f"http://127.0.0.1:{port}", TOKEN) as api,
    ):
        api.get("/anything")


def test_a_proxy_of_the_surroundings_is_not_asked_for_this_machine():
    with (
        server(lambda _: as_json(1)) as url,
        environment(HTTP_PROXY="http://127.0.0.1:9", ALL_PROXY="http://127.0.0.1:9"),
    ):
        with ApiClient(url, TOKEN) as api:
            assert api.get("/anything") == 1


def test_a_list_is_fetched_page_by_page(monkeypatch):
    monkeypatch.setattr(api_client, "PAGE_ROWS", 2)
    seen = []

    def answer(path: str) -> tuple[int, str, bytes]:
        seen.append(path)
        skip = int(path.split("skip=")[1].split("&", maxsplit=1)[0])
        return as_json([0, 1, 2][skip : skip + 2])

    with server(answer) as url, ApiClient(url, TOKEN) as api:
        assert list(api.items("/things")) == [0, 1, 2]
    assert len(seen) == 2


def test_cells_with_line_ends_survive_the_csv_stream():
    body = 'id,prompt,status\r\n1,"two\nlines, ""quoted""\r\n",Pass\r\n2,"' + "ü" * 200_000 + '",Fail'
    with server(lambda _: (200, "text/csv", body.encode())) as url, ApiClient(url, TOKEN) as api:
        first, second = result_rows(api, "run")
    assert first["prompt"] == 'two\nlines, "quoted"\r\n'
    assert second["prompt"] == "ü" * 200_000


def test_a_refused_download_says_why():
    with server(lambda _: problem(404, detail="test run x is not there")) as url, ApiClient(url, TOKEN) as api:
        with pytest.raises(CommandFailed, match="test run x is not there"):
            list(api.stream("/test_runs/x/results"))


@pytest.fixture
def home(tmp_path):
    with environment(RHESIS_HOME=str(tmp_path)):
        yield tmp_path


def test_the_token_file_is_used_if_it_is_its_owners_alone(home):
    file = home / "token"
    file.write_text(f"{TOKEN}\n")
    file.chmod(0o600)
    with server(lambda _: as_json("well")) as url, environment(RHESIS_API_URL=url), api_client.connect() as api:
        assert api.get("/anything") == "well"


def test_a_token_file_that_others_may_read_is_refused(home):
    (home / "token").write_text(TOKEN)
    (home / "token").chmod(0o640)
    with pytest.raises(CommandFailed, match="chmod 600"):
        api_client.connect()


def test_without_any_token_it_is_said_how_to_get_one(home):
    with pytest.raises(CommandFailed, match="rhesis token create"):
        api_client.connect()


def test_a_set_address_wins_over_the_one_that_up_left(home):
    (home / "api_url").write_text("http://127.0.0.1:8001\n")
    with environment(RHESIS_TOKEN=TOKEN), api_client.connect() as api:
        assert api.url == "http://127.0.0.1:8001"
    with environment(RHESIS_TOKEN=TOKEN, RHESIS_API_URL="http://127.0.0.1:9/"), api_client.connect() as api:
        assert api.url == "http://127.0.0.1:9"


COUNTS = {
    "status": "Progress", "percent": 0.0, "total": 4, "completed": 0, "passed": 0, "failed": 0, "errors": 0,
    "rate_per_second": None, "eta_seconds": None, "late": False, "last_worker_seen_at": None,
}  # fmt: skip


def follow_answers(*answers: tuple[int, str, bytes], **options) -> dict[str, object]:
    left = list(answers)
    with server(lambda _: left.pop(0) if len(left) > 1 else left[0]) as url, ApiClient(url, TOKEN) as api:
        return follow(api, "run", Lines(), **options)


def test_following_a_run_prints_a_line_for_each_tenth_and_no_more(capsys):
    steps = [as_json({**COUNTS, "percent": percent}) for percent in (0.0, 2.0, 12.5, 14.0)]
    found = follow_answers(*steps, as_json({**COUNTS, "percent": 100.0, "status": "Completed"}))
    assert found["status"] == "Completed"
    assert [line[:5] for line in capsys.readouterr().err.splitlines()] == ["  0 %", " 10 %", "100 %"]


def test_following_stops_when_the_time_is_up():
    with pytest.raises(WaitTimedOut, match="run run is Progress after 0.1 s: it goes on"):
        follow_answers(as_json(COUNTS), timeout_seconds=0.1)


def test_following_bears_an_api_that_is_away_for_a_moment():
    end = as_json({**COUNTS, "status": "Failed"})
    assert follow_answers(problem(503, detail="away"), problem(503, detail="away"), end)["status"] == "Failed"


def test_following_gives_up_on_an_overdue_run_that_nobody_closes(monkeypatch):
    monkeypatch.setattr("rhesis.backend.cli.progress.LATE_SECONDS", 0.1)
    late = {**COUNTS, "late": True, "last_worker_seen_at": "2026-01-01T00:00:00Z"}
    with pytest.raises(WaitTimedOut, match="no worker has reported since 2026-01-01T00:00:00Z"):
        follow_answers(as_json(late))
