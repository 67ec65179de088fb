"""What PostgreSQL wrote becomes one sentence with a next step."""

import errno
import os
from pathlib import Path

import psycopg
import pytest

from rhesis.backend.embedded.diagnosis import explain_connection_error, explain_log, explain_os_error

PLACE = Path("/project/.rhesis/postgres")
LOG = Path("/project/.rhesis/postgres.log")


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        ('FATAL:  could not write lock file "postmaster.pid": No space left on device', "disk .* is full"),
        ("initdb: error: could not write to file: Disk quota exceeded", "disk .* is full"),
        ("FATAL:  could not create shared memory segment: No space left on device", "shared memory"),
        ("FATAL:  could not create semaphores: No space left on device", "shared memory"),
        ("FATAL:  could not map anonymous shared memory: Cannot allocate memory", "too little memory"),
        ("FATAL:  pre-existing shared memory block (key 1, ID 2) is still in use", "still alive"),
        ("FATAL:  database files are incompatible with server", "another build"),
        ('FATAL:  data directory "/x" has invalid permissions', "mode 0700"),
        ('FATAL:  data directory "/x" has wrong ownership', "must belong to"),
        ("PANIC:  could not locate a valid checkpoint record at 0/1", "damaged"),
        ('PANIC:  could not open file "global/pg_control": No such file or directory', "damaged"),
        ("FATAL:  could not open file: Read-only file system", "read-only"),
        ("FATAL:  could not open file: Too many open files", "ulimit -n"),
        ("initdb: error: could not access directory: Permission denied", "may not use"),
    ],
)
def test_a_known_cause_is_named(words, cause):
    with pytest.raises(ValueError, match=cause):
        raise ValueError(explain_log(f"2026-01-01 LOG:  starting\n{words}\n", place=PLACE, log=LOG))


def test_an_unknown_cause_is_quoted_from_the_last_severe_line_with_the_log_to_read():
    words = "x [1] LOG:  starting\nx [1] FATAL:  first\nx [1] FATAL:  the moon is full\nx [1] LOG:  shut down\n"

    assert explain_log(words, place=PLACE, log=LOG) == (
        f"PostgreSQL could not start in {PLACE} (the moon is full): read {LOG}"
    )


def test_a_program_that_said_nothing_is_told_as_that():
    assert explain_log("", place=PLACE, log=LOG) == f"PostgreSQL ended without a word in {PLACE}: read {LOG}"
    assert "DATABASE_URL" in explain_log("", place=PLACE, log=None)


@pytest.mark.parametrize(
    ("number", "cause"),
    [
        (errno.ENOSPC, "is full: make room"),
        (errno.EDQUOT, "is full: make room"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, "no permission for /file"),
        (errno.EPERM, "no permission for /file"),
        (errno.EIO, "Input/output error"),
    ],
)
def test_an_error_of_the_operating_system_names_the_file_and_the_way_out(number, cause):
    line = explain_os_error(OSError(number, os.strerror(number), "/file"), home=PLACE)

    assert cause in line
    assert "/file" in line


def test_an_error_without_a_file_names_the_home():
    assert str(PLACE) in explain_os_error(OSError(errno.ENOSPC, "No space left on device"), home=PLACE)


def test_a_refused_password_points_to_the_password_file():
    error = psycopg.OperationalError('FATAL:  password authentication failed for user "postgres"')

    assert "credentials.json do not fit" in explain_connection_error(
        error, data=PLACE, credentials=Path("/project/.rhesis/credentials.json")
    )


def test_any_other_refusal_is_quoted_in_one_line():
    error = psycopg.OperationalError("connection failed\nFATAL:  sorry, too many clients already")

    line = explain_connection_error(error, data=PLACE, credentials=PLACE)

    assert "too many clients" in line
    assert "\n" not in line
