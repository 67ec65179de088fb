"""Which workers live, read as `rhesis_queue`. All times are the database's."""

from sqlalchemy import Connection, text

# Workers beat every 5 s; three beats may be missed.
ALIVE_SECONDS = 20.0

_ALIVE = text("""
    SELECT name FROM rhesis.worker_heartbeat
    WHERE beat_at > now() - make_interval(secs => :seconds) ORDER BY name
""")


def alive(connection: Connection) -> tuple[str, ...]:
    """Return the names of the workers that have given a sign of life of late."""
    return tuple(connection.execute(_ALIVE, {"seconds": ALIVE_SECONDS}).scalars())
