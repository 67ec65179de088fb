"""Statements about the service as a whole, run as `rhesis_queue`: workers, open runs, connections, revision."""

from datetime import datetime

from sqlalchemy import Connection, text

REVISION_STATEMENT = "SELECT version_num FROM rhesis.alembic_version"

_NEWEST_BEAT = text("SELECT max(beat_at) FROM rhesis.worker_heartbeat")
_OLDEST_OPEN_RUN = text("SELECT min(created_at) FROM rhesis.test_run WHERE status IN ('Queued', 'Progress')")
# Unlike pg_stat_activity, this counts other roles' connections for everybody.
_USED_CONNECTIONS = text("SELECT COALESCE(sum(numbackends), 0) FROM pg_stat_database")
_ALLOWED_CONNECTIONS = text("SELECT current_setting('max_connections')::integer")


def revision(connection: Connection) -> str | None:
    """Return the schema's revision."""
    found = connection.execute(text(REVISION_STATEMENT)).scalar()
    return None if found is None else str(found)


def newest_beat(connection: Connection) -> datetime | None:
    """Return when any worker last gave a sign of life."""
    found: datetime | None = connection.execute(_NEWEST_BEAT).scalar()
    return found


def oldest_open_run(connection: Connection) -> datetime | None:
    """Return when the oldest run that has not ended was made, of whichever organization."""
    found: datetime | None = connection.execute(_OLDEST_OPEN_RUN).scalar()
    return found


def used_connections(connection: Connection) -> int:
    """Return how many connections the server has."""
    return int(connection.execute(_USED_CONNECTIONS).scalar_one())


def allowed_connections(connection: Connection) -> int:
    """Return how many connections the server allows."""
    return int(connection.execute(_ALLOWED_CONNECTIONS).scalar_one())
