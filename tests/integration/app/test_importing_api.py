"""Import and export over HTTP: all or nothing, streamed, and what is exported can be imported."""

import csv
import io
import json
from contextlib import closing
from http.client import HTTPConnection
from uuid import UUID

import pytest

from rhesis.backend.app.main import create_app
from rhesis.backend.app.services.export_pages import pages_of_tests
from rhesis.backend.domain.actor import Actor
from support.api import bearer, live_server, problem_of
from support.colleagues import colleague_of
from support.database import SECRET_KEY, environment

CSV = "text/csv"
NDJSON = "application/x-ndjson"
METRICS = [{"name": "contains", "parameters": {"value": "ok"}}]


@pytest.fixture
def owner(database, tenant):
    return bearer(database, tenant)


def send(client, headers, content, media_type: str = CSV, **query):
    return client.post(
        "/test_sets/import",
        params={"name": "Imported"} | query,
        content=content,
        headers=headers | {"Content-Type": media_type},
    )


def imported(client, headers, content, media_type: str = CSV, **query) -> dict:
    response = send(client, headers, content, media_type, **query)
    assert response.status_code == 201, response.text
    return response.json()


def prompts(client, headers, test_set_id: str) -> list[str]:
    tests = client.get(f"/test_sets/{test_set_id}/tests", params={"limit": 1000}, headers=headers).json()
    return [test["prompt"] for test in tests]


def count(database, table: str) -> int:
    return database.fetch(f"SELECT count(*) FROM rhesis.{table}")[0][0]


def test_a_csv_file_becomes_a_set_in_the_files_order(client, database, tenant, owner):
    content = "prompt,id,metrics,priority\n" + "".join(
        f'"p{n}",{n},"{json.dumps(METRICS).replace(chr(34), 2 * chr(34))}",{n}\n' for n in range(2500)
    )
    made = imported(client, owner, content.encode(), description="from a file")
    test_set = made["test_set"]
    assert (made["tests"], made["notes"], test_set["name"], test_set["description"]) == (
        2500,
        [],
        "Imported",
        "from a file",
    )
    listed = client.get(f"/test_sets/{test_set['id']}/tests", params={"skip": 1999, "limit": 2}, headers=owner)
    assert listed.headers["X-Total-Count"] == "2500"
    assert [(test["prompt"], test["external_id"], test["priority"]) for test in listed.json()] == [
        ("p1999", "1999", 1999),
        ("p2000", "2000", 2000),
    ]
    assert listed.json()[0]["metrics"] == METRICS
    assert database.fetch("SELECT DISTINCT organization_id, user_id FROM rhesis.test") == [
        (tenant.organization_id, tenant.user_id)
    ]


def test_a_jsonl_file_is_imported_by_its_content_type(client, owner):
    made = imported(client, owner, b'{"prompt": "a"}\n{"prompt": "b"}\n', NDJSON)
    assert prompts(client, owner, made["test_set"]["id"]) == ["a", "b"]


@pytest.mark.parametrize(
    ("name", "media_type", "content"),
    [
        ("tests.csv", "application/octet-stream", b"prompt\na\n"),
        ("tests", "text/csv; charset=utf-8", b"prompt\na\n"),
        ("tests.jsonl", "application/octet-stream", b'{"prompt": "a"}'),
        ("tests.CSV", "application/vnd.ms-excel", b"prompt\r\na\r\n"),
    ],
)
def test_a_multipart_file_is_read_by_its_name_or_type(client, owner, name, media_type, content):
    response = client.post(
        "/test_sets/import", params={"name": "x"}, files={"file": (name, content, media_type)}, headers=owner
    )
    assert response.status_code == 201, response.text
    assert prompts(client, owner, response.json()["test_set"]["id"]) == ["a"]


@pytest.mark.parametrize(
    "files",
    [{"other": ("a.csv", b"prompt\na\n")}, [("file", ("a.csv", b"prompt\na\n")), ("file", ("b.csv", b"prompt\nb\n"))]],
)
def test_a_form_must_have_one_file_and_nothing_else(client, database, owner, files):
    response = client.post("/test_sets/import", params={"name": "x"}, files=files, headers=owner)
    problem_of(response, 422, "invalid_multipart")
    assert count(database, "test_set") == 0


def test_a_form_that_is_cut_short_stores_nothing(client, database, owner):
    body = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\nprompt\na\n'
    response = send(client, owner, body, "multipart/form-data; boundary=b")
    assert "ends before its closing boundary" in problem_of(response, 422, "invalid_multipart")["detail"]
    assert count(database, "test_set") == 0


@pytest.mark.parametrize("media_type", ["application/json", "text/plain", "multipart/form-data", ""])
def test_a_body_of_another_kind_is_refused(client, owner, media_type):
    response = send(client, owner, b"prompt\na\n", media_type)
    assert response.status_code == 422
    assert response.json()["code"] in {"unknown_format", "invalid_multipart"}


def test_one_bad_row_keeps_the_whole_file_out(client, database, owner):
    content = b"prompt,priority\n" + b"fine,1\n" * 3000 + b"bad,x\n" + b"fine,1\n" * 10
    problem = problem_of(send(client, owner, content), 422, "import_refused")
    assert problem["errors"] == [
        {"where": "row 3002", "message": "priority is not a whole number from -1000000 to 1000000"}
    ]
    assert (count(database, "test_set"), count(database, "test")) == (0, 0)


def test_a_hundred_bad_rows_are_listed_and_all_are_counted(client, owner):
    problem = problem_of(send(client, owner, b"prompt,priority\n" + b"x,y\n" * 250), 422, "import_refused")
    assert problem["detail"].startswith("250 rows cannot be imported")
    assert [error["where"] for error in problem["errors"]] == [f"row {number}" for number in range(2, 102)]


def test_a_sender_who_is_refused_early_hears_why(database, tenant):
    """The server reads on after its answer: to hang up in the middle of an upload would show a broken pipe instead."""

    def large():
        yield b"colour\n"
        for _ in range(400):
            yield b"x" * 65_536

    headers = bearer(database, tenant) | {"Content-Type": CSV}
    with (
        live_server(create_app()) as server,
        closing(HTTPConnection(server.host, server.port, timeout=30)) as connection,
    ):
        connection.request("POST", "/test_sets/import?name=x", large(), headers, encode_chunked=True)
        answer = connection.getresponse()
        assert answer.status == 422
        assert json.load(answer)["errors"][0]["message"].startswith("unknown column 'colour'")


def test_replaced_characters_are_said(client, owner):
    made = imported(client, owner, b"prompt\na\x00b\nfine\n\x00c\n")
    assert made["notes"] == ["2 rows held characters that cannot be stored, now U+FFFD: rows 2, 4"]
    assert prompts(client, owner, made["test_set"]["id"]) == ["a\ufffdb", "fine", "\ufffdc"]


def test_limits_of_the_installation_apply(client, database, owner):
    with environment(
        DATABASE_URL=database.url,
        RHESIS_SECRET_KEYS=SECRET_KEY,
        RHESIS_IMPORT_MAX_ROWS="2",
        RHESIS_PROMPT_MAX_BYTES="3",
    ):
        problem = problem_of(send(client, owner, b"prompt\nabcd\nb\nc\n"), 422, "import_refused")
    assert [error["where"] for error in problem["errors"]] == ["row 2", "row 4"]


@pytest.mark.parametrize("query", [{"name": ""}, {"visibility": "public"}, {"organization_id": "x"}])
def test_what_the_set_is_called_is_checked_like_a_sets_body(client, owner, query):
    problem_of(send(client, owner, b"prompt\na\n", **query), 422, "invalid_input")


def test_two_imports_of_one_name_make_two_sets(client, owner):
    slugs = {imported(client, owner, b"prompt\na\n")["test_set"]["slug"] for _ in range(2)}
    assert len(slugs) == 2


def test_raw_csv_and_jsonl_come_back_as_they_were(client, owner):
    lines = [
        {"prompt": "=1+1", "id": "-7", "expected_response": '@x\r\n"y",z', "metrics": METRICS, "priority": -3},
        {"prompt": " 😀 ", "language_code": "en", "behaviour": "'+"},
        {"prompt": "x" * 5000},
    ]
    original = "".join(json.dumps(line) + "\n" for line in lines).encode()
    first = imported(client, owner, original, NDJSON)["test_set"]["id"]
    exported = client.get(f"/test_sets/{first}/export", params={"format": "jsonl"}, headers=owner)
    assert [json.loads(line) for line in exported.text.splitlines()] == [{"priority": 0} | line for line in lines]
    raw = client.get(f"/test_sets/{first}/export", params={"format": "csv", "raw": "true"}, headers=owner)
    for content, media_type in ((exported.content, NDJSON), (raw.content, CSV)):
        again = imported(client, owner, content, media_type)["test_set"]["id"]
        repeated = client.get(f"/test_sets/{again}/export", params={"format": "jsonl"}, headers=owner)
        assert repeated.content == exported.content


def test_csv_for_people_disarms_formulas_and_is_named_by_the_id(client, owner):
    dangerous = ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx"]
    content = "".join(json.dumps({"prompt": prompt, "behaviour": "fine"}) + "\n" for prompt in dangerous).encode()
    test_set = imported(client, owner, content, NDJSON, name='x"; filename="evil.exe')["test_set"]["id"]
    response = client.get(f"/test_sets/{test_set}/export", headers=owner)
    assert response.headers["content-type"] == "text/csv; charset=utf-8"
    assert response.headers["content-disposition"] == f'attachment; filename="test_set_{test_set}.csv"'
    cells = list(csv.DictReader(io.StringIO(response.text, newline="")))
    assert [row["prompt"] for row in cells] == [f"'{prompt}" for prompt in dangerous]
    assert {row["behaviour"] for row in cells} == {"fine"}


def test_an_export_of_long_texts_takes_several_pages_and_loses_nothing(client, tenant, owner):
    lines = "".join(json.dumps({"prompt": f"{n} " + "x" * 900_000}) + "\n" for n in range(12)).encode()
    test_set = imported(client, owner, lines, NDJSON)["test_set"]["id"]
    pages = list(pages_of_tests(Actor(tenant.user_id, tenant.organization_id), UUID(test_set)))
    assert max(len(page) for page in pages) <= 5
    assert [test.prompt.split()[0] for page in pages for test in page] == [str(n) for n in range(12)]


def test_an_export_of_many_tests_takes_several_pages_and_loses_nothing(client, owner):
    test_set = imported(client, owner, ("prompt\n" + "".join(f"{n}\n" for n in range(1201))).encode())["test_set"]["id"]
    exported = client.get(f"/test_sets/{test_set}/export", params={"format": "jsonl"}, headers=owner).text
    assert [json.loads(line)["prompt"] for line in exported.splitlines()] == [str(n) for n in range(1201)]


def test_an_empty_set_is_exported_as_a_header(client, owner):
    made = client.post("/test_sets", json={"name": "empty"}, headers=owner).json()
    text = client.get(f"/test_sets/{made['id']}/export", headers=owner).text
    assert text == "id,prompt,expected_response,behaviour,metrics,priority,language_code\r\n"


def test_a_hidden_import_is_seen_by_its_owner_alone(client, database, tenant, owner):
    made = imported(client, owner, b"prompt\na\n", visibility="user")["test_set"]["id"]
    colleague = bearer(database, colleague_of(database, tenant))
    problem_of(client.get(f"/test_sets/{made}/export", headers=colleague), 404, "not_found")
    assert UUID(made)


def test_the_description_of_the_api_says_what_bodies_an_import_takes(client):
    operation = client.get("/openapi.json").json()["paths"]["/test_sets/import"]["post"]
    assert set(operation["requestBody"]["content"]) == {CSV, NDJSON, "multipart/form-data"}
    assert {parameter["name"] for parameter in operation["parameters"]} == {"name", "description", "visibility"}
