"""Celery chords that always end, once: what a chord is, what is wrong with it, and how to put it right."""

from chordkeeper.errors import ChordkeeperError, InvalidValue
from chordkeeper.model import (
    Callback,
    CallbackStatus,
    Chord,
    ChordId,
    ChordStatus,
    Counts,
    Member,
    MemberStatus,
    Progress,
    TaskId,
    status_of,
)

__all__ = [
    "Callback",
    "CallbackStatus",
    "Chord",
    "ChordId",
    "ChordStatus",
    "ChordkeeperError",
    "Counts",
    "InvalidValue",
    "Member",
    "MemberStatus",
    "Progress",
    "TaskId",
    "status_of",
]
