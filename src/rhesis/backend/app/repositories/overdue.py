"""Statements of the reaper, which works as `rhesis_queue` across all tenants."""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, text

# Any number of its own: two workers must not reap at the same time.
_REAPER_LOCK = 7_264_332
_TRY_LOCK = text("SELECT pg_try_advisory_xact_lock(:key)")
_BOUND_WAITING = text("SELECT set_config('lock_timeout', :milliseconds, true)")
_OVERDUE = text("""
    SELECT organization_id, id AS run_id FROM rhesis.test_run
    WHERE status IN ('Queued', 'Progress') AND deadline < now()
    ORDER BY deadline LIMIT :limit
""")
# Runs that ended before their callback did: a poller may still wait for members that will never report. Whether it
# does cannot be read from the broker, whose payloads are encoded; that the callback has no outcome can.
_WAITING_CHORDS = text("""
    SELECT run.id AS run_id, run.body_task_id, run.test_ids FROM rhesis.test_run run
    WHERE run.status NOT IN ('Queued', 'Progress')
      AND run.completed_at BETWEEN now() - interval '1 day' AND now() - make_interval(secs => :grace_seconds)
      AND NOT EXISTS (SELECT FROM rhesis_queue.celery_taskmeta meta
                      WHERE meta.task_id = run.body_task_id AND meta.status IN ('SUCCESS', 'FAILURE', 'REVOKED'))
    ORDER BY run.completed_at LIMIT :limit
""")
_RESULT_TABLE = text("""
    SELECT current_database(), pg_postmaster_start_time(), to_regclass('celery_taskmeta')::oid
""")
# Every member without an outcome gets the one that the backend itself stored for the callback.
_FAIL_MEMBERS = text("""
    INSERT INTO rhesis_queue.celery_taskmeta (id, task_id, status, result, date_done, traceback)
    SELECT nextval('rhesis_queue.task_id_sequence'), member.task_id, model.status, model.result, model.date_done, NULL
    FROM rhesis_queue.celery_taskmeta model CROSS JOIN unnest(CAST(:member_ids AS text[])) AS member (task_id)
    WHERE model.task_id = :model_id
    ON CONFLICT (task_id) DO UPDATE
    SET status = EXCLUDED.status, result = EXCLUDED.result, date_done = EXCLUDED.date_done
    WHERE celery_taskmeta.status NOT IN ('SUCCESS', 'FAILURE', 'REVOKED')
""")
_BEAT = text("""
    INSERT INTO rhesis.worker_heartbeat (name, host, process_id, queues, beat_at)
    VALUES (:name, :host, :process_id, :queues, now())
    ON CONFLICT (name) DO UPDATE
    SET host = EXCLUDED.host, process_id = EXCLUDED.process_id, queues = EXCLUDED.queues, beat_at = now()
""")
_FORGET_BEAT = text("DELETE FROM rhesis.worker_heartbeat WHERE name = :name")
_FORGET_OLD_BEATS = text("DELETE FROM rhesis.worker_heartbeat WHERE beat_at < now() - interval '1 day'")
# The stock broker keeps every message it delivered.
_SWEEP_DELIVERED = text("""
    DELETE FROM rhesis_queue.kombu_message
    WHERE id IN (SELECT id FROM rhesis_queue.kombu_message
                 WHERE NOT visible AND "timestamp" < now()::timestamp - interval '1 day' LIMIT :limit)
""")


@dataclass(frozen=True)
class Heartbeat:
    """A worker's sign of life."""

    name: str
    host: str
    process_id: int
    queues: tuple[str, ...]


@dataclass(frozen=True)
class RunKey:
    """A run and whose it is."""

    organization_id: UUID
    run_id: UUID


@dataclass(frozen=True)
class WaitingChord:
    """An ended run whose chord is still being polled for, and its tests."""

    run_id: UUID
    body_task_id: str
    test_ids: tuple[UUID, ...]


def try_lock(connection: Connection) -> bool:
    """Take the reaper's lock until the transaction ends; return False when another worker holds it."""
    return bool(connection.execute(_TRY_LOCK, {"key": _REAPER_LOCK}).scalar_one())


def bound_waiting(connection: Connection, *, seconds: float) -> None:
    """Let every statement of this transaction that waits longer for somebody's lock fail."""
    connection.execute(_BOUND_WAITING, {"milliseconds": str(int(seconds * 1000))})


def overdue_runs(connection: Connection, *, limit: int) -> list[RunKey]:
    """Return open runs past their deadline, the oldest first."""
    return [RunKey(row.organization_id, row.run_id) for row in connection.execute(_OVERDUE, {"limit": limit})]


def result_table(connection: Connection) -> tuple[object, ...]:
    """Return what identifies the table of Celery's results that this connection sees; the same for the same table."""
    return tuple(connection.execute(_RESULT_TABLE).one())


def waiting_chords(connection: Connection, *, grace_seconds: float, limit: int) -> list[WaitingChord]:
    """Return runs that ended a while ago and whose callback has no outcome, in Celery's stock result tables."""
    rows = connection.execute(_WAITING_CHORDS, {"grace_seconds": grace_seconds, "limit": limit})
    return [WaitingChord(row.run_id, row.body_task_id, tuple(row.test_ids)) for row in rows]


def fail_members(connection: Connection, member_ids: list[str], *, model_id: str) -> int:
    """Give every member without an outcome the stored outcome of task `model_id`; return how many had none."""
    return connection.execute(_FAIL_MEMBERS, {"member_ids": member_ids, "model_id": model_id}).rowcount


def sweep_delivered_messages(connection: Connection, *, limit: int) -> int:
    """Delete messages that the stock broker delivered more than a day ago; return how many."""
    return connection.execute(_SWEEP_DELIVERED, {"limit": limit}).rowcount


def beat(connection: Connection, heartbeat: Heartbeat) -> None:
    """Note that a worker lives, by the database's clock."""
    connection.execute(
        _BEAT,
        {
            "name": heartbeat.name,
            "host": heartbeat.host,
            "process_id": heartbeat.process_id,
            "queues": list(heartbeat.queues),
        },
    )
    connection.execute(_FORGET_OLD_BEATS)


def forget(connection: Connection, name: str) -> None:
    """Remove a worker that stops."""
    connection.execute(_FORGET_BEAT, {"name": name})
