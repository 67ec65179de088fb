"""Commands that work on the database, as real processes, on a named server and on the embedded one."""

import stat
import subprocess
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from cryptography.fernet import Fernet
from psycopg.types.json import Jsonb
from sqlalchemy.engine import make_url

from rhesis.backend.app.identity import find_actor
from rhesis.backend.embedded import EmbeddedServer
from rhesis.backend.security import SecretBox, digest_of
from support.commands import RHESIS, own_home, rhesis, succeeded
from support.database import SECRET_KEY, TestDatabase
from support.world import add_world


@pytest.fixture
def home(tmp_path: Path):
    with own_home(tmp_path) as path:
        yield path


def test_migrate_prints_the_revision_and_can_be_repeated(empty_database_url, tmp_path):
    results = [rhesis("migrate", folder=tmp_path, DATABASE_URL=empty_database_url) for _ in range(2)]
    assert succeeded(results[0]) == succeeded(results[1])
    assert succeeded(results[0]).isalnum()
    assert results[0].stderr.startswith("database: ")
    assert "\n" not in succeeded(results[0])


def test_a_login_that_may_not_migrate_gets_the_sql_for_somebody_who_may(server_url, empty_database_url, tmp_path):
    login, password = f"rhesis_test_login_{uuid4().hex[:8]}", uuid4().hex
    admin = TestDatabase(server_url)
    admin.fetch(f"CREATE ROLE {login} LOGIN PASSWORD '{password}'")
    try:
        url = make_url(empty_database_url).set(username=login, password=password)
        result = rhesis("migrate", folder=tmp_path, DATABASE_URL=url.render_as_string(hide_password=False))
    finally:
        admin.fetch(f"DROP ROLE {login}")
    assert result.returncode == 1
    assert "CREATE " in result.stdout
    talk = result.stderr.splitlines()
    assert len(talk) == 2
    assert talk[1].startswith("rhesis: this login may not create")
    assert password not in result.stdout + result.stderr


def test_an_organization_a_user_and_his_token_are_made_and_the_token_works(database, tmp_path):
    organization_id = UUID(succeeded(rhesis("organization", "create", "Acme", folder=tmp_path)))
    user = ("user", "create", "ada@example.org", "--organization", organization_id, "--superuser", "--name", "Ada")
    user_id = UUID(succeeded(rhesis(*user, folder=tmp_path)))
    created = rhesis("token", "create", "--user", "ada@example.org", "--days", 3, "--name", "ci", folder=tmp_path)
    token = succeeded(created)
    actor = find_actor(digest_of(token))
    assert actor is not None
    assert (actor.id, actor.organization_id, actor.is_superuser) == (user_id, organization_id, True)
    assert token not in created.stderr
    again = succeeded(rhesis("token", "create", "--user", user_id, folder=tmp_path))
    assert again != token, "by id as well as by address"
    [(days,)] = database.fetch(
        "SELECT round(extract(epoch FROM expires_at - now()) / 86400) FROM rhesis.token WHERE name = 'ci'"
    )
    assert days == 3


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("user", "create", "b@example.org", "--organization", str(uuid4())), "there is no organization"),
        (("user", "create", "nobody", "--organization", str(uuid4())), "is not an e-mail address"),
        (("token", "create", "--user", "nobody@example.org"), "there is no user nobody@example.org"),
        (("token", "create", "--user", str(uuid4())), "there is no user"),
        (("organization", "create", " "), "name must have"),
    ],
)
def test_what_cannot_be_made_is_one_line_and_exit_code_1(database, tmp_path, arguments, reason):
    result = rhesis(*arguments, folder=tmp_path)
    assert (result.returncode, result.stdout) == (1, "")
    assert reason in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr


def test_doctor_is_content_with_a_migrated_database_and_names_what_is_missing(database, empty_database_url, tmp_path):
    well = rhesis("doctor", folder=tmp_path)
    lines = succeeded(well).splitlines()
    assert {line.split()[1] for line in lines} == {
        "application",
        "queue",
        "owner",
        "schema",
        "broker",
        "keys",
        "workers",
    }
    assert all(line.startswith("ok ") for line in lines)
    ill = rhesis("doctor", folder=tmp_path, DATABASE_URL=empty_database_url)
    assert ill.returncode == 1
    assert "schema" in [line.split()[1] for line in ill.stdout.splitlines() if line.startswith("failed ")]
    assert "run rhesis migrate" in ill.stdout


def test_doctor_tells_a_broker_that_is_away_from_a_database_that_is_there(database, tmp_path):
    result = rhesis("doctor", "--only", "broker", folder=tmp_path, BROKER_URL="redis://:s3cret@127.0.0.1:9/0")
    assert result.returncode == 1
    assert result.stdout.startswith("failed  broker")
    assert "unreachable" in result.stdout
    assert "s3cret" not in result.stdout + result.stderr


def test_reap_closes_an_overdue_run_and_prints_its_id(database, tenant, tmp_path):
    world = add_world(database, tenant, prompts=["a", "b"])
    run_id = uuid4()
    database.fetch(
        "INSERT INTO rhesis.test_run (id, organization_id, user_id, test_configuration_id, task_id, body_task_id,"
        " deadline, test_ids, total_tests) VALUES (%s, %s, %s, %s, 'a', 'b', now() - interval '1 minute', %s, 2)",
        run_id, tenant.organization_id, tenant.user_id, world.configuration_id, list(world.test_ids),
    )  # fmt: skip
    assert succeeded(rhesis("reap", "--once", folder=tmp_path)) == str(run_id)
    assert succeeded(rhesis("reap", "--once", folder=tmp_path)) == "", "nothing is left to do"
    assert database.fetch("SELECT count(*) FROM rhesis.test_result WHERE test_run_id = %s", run_id) == [(2,)]


def store_secret(database: TestDatabase, world, key: str) -> None:
    sealed = SecretBox([key]).seal("s3cret", organization_id=world.tenant.organization_id, owner_id=world.endpoint_id)
    database.fetch(
        "UPDATE rhesis.endpoint SET auth_token = %s, request_headers = %s WHERE id = %s",
        sealed, Jsonb({"X-Key": sealed}), world.endpoint_id,
    )  # fmt: skip


def stored_secrets(database: TestDatabase, world) -> list[str]:
    statement = "SELECT auth_token, request_headers->>'X-Key' FROM rhesis.endpoint WHERE id = %s"
    return list(database.fetch(statement, world.endpoint_id)[0])


def test_rotating_leaves_every_organizations_secrets_readable_with_the_new_key_alone(
    database, tenant, other_tenant, tmp_path
):
    worlds = [add_world(database, one, prompts=["a"]) for one in (tenant, other_tenant)]
    for world in worlds:
        store_secret(database, world, SECRET_KEY)
    new = Fernet.generate_key().decode()
    result = rhesis("secrets", "rotate", folder=tmp_path, RHESIS_SECRET_KEYS=f"{new},{SECRET_KEY}")
    assert succeeded(result) == "4 credentials of 2 endpoints"
    for world in worlds:
        ids = {"organization_id": world.tenant.organization_id, "owner_id": world.endpoint_id}
        assert [SecretBox([new]).open(sealed, **ids) for sealed in stored_secrets(database, world)] == ["s3cret"] * 2
    assert "s3cret" not in result.stderr


def test_rotating_leaves_what_no_key_opens_as_it_is_and_names_its_endpoint(database, tenant, tmp_path):
    world = add_world(database, tenant, prompts=["a"])
    store_secret(database, world, Fernet.generate_key().decode())
    before = stored_secrets(database, world)
    result = rhesis("secrets", "rotate", folder=tmp_path)
    assert result.returncode == 1
    assert f"endpoint {world.endpoint_id}" in result.stderr
    assert stored_secrets(database, world) == before


def test_an_embedded_database_is_made_by_migrate_kept_between_commands_and_stopped_by_each(home, tmp_path):
    options = ("--home", home)
    missing = rhesis(*options, "organization", "create", "A", folder=tmp_path)
    assert missing.returncode == 1
    assert "rhesis migrate makes one" in missing.stderr
    succeeded(rhesis(*options, "migrate", folder=tmp_path))
    assert not EmbeddedServer(home).is_running(), "the last one out stops it"
    organization_id = succeeded(rhesis(*options, "organization", "create", "A", folder=tmp_path))
    user = ("user", "create", "a@example.org", "--organization", organization_id)
    succeeded(rhesis(*options, *user, folder=tmp_path))
    saved = rhesis(*options, "token", "create", "--user", "a@example.org", "--save", folder=tmp_path)
    file = home / "token"
    assert file.read_text().strip() == succeeded(saved)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert f"database: embedded {home}" in saved.stderr


def test_a_reader_of_a_database_that_never_was_says_so_and_makes_none(home, tmp_path):
    result = rhesis("--home", home, "doctor", folder=tmp_path)
    assert (result.returncode, result.stdout) == (1, "")
    assert f"no database at {home}: nothing has run here" in result.stderr
    assert not (home / "credentials.json").exists()


def test_down_stops_the_embedded_server_under_whoever_uses_it(home, tmp_path):
    server = EmbeddedServer(home)
    server.ensure(create=True)
    try:
        assert "stopped" in rhesis("--home", home, "down", folder=tmp_path).stderr
        assert not server.is_running()
        assert "nothing was running" in rhesis("--home", home, "down", folder=tmp_path).stderr
    finally:
        server.release()


def test_down_refuses_where_the_database_is_not_ours_to_stop(database, tmp_path):
    result = rhesis("down", folder=tmp_path)
    assert result.returncode == 1
    assert "no embedded database" in result.stderr


def test_a_reader_that_goes_away_ends_a_command_in_silence(database, tmp_path):
    process = subprocess.Popen([*RHESIS, "doctor"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    talk = process.stderr.read().decode()
    process.stderr.close()
    assert process.wait(timeout=60) == 0
    assert [line for line in talk.splitlines() if not line.startswith("database: ")] == []
