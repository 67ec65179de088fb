"""Read what the members of a chord returned, in every shape it has been seen in."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

FAILED = "failed"


def failure(test_id: str, error: str) -> dict[str, Any]:
    """Return what a member returns when its test could not be run at all."""
    return {"test_id": test_id, "status": FAILED, "error": error, "execution_time": 0}


def unpack(result: Any) -> Any:
    """Return a member's own value.

    Chord results are plain values. `AsyncResult.as_tuple()` has the shape `[[task_id, parent], children]`, of which the
    value cannot be told; only that exact shape counts as no value.
    """
    if isinstance(result, list) and len(result) == 2 and _is_result_tuple(result):  # noqa: PLR2004
        return None
    return result


def _is_result_tuple(result: list[Any]) -> bool:
    head = result[0]
    return isinstance(head, list) and len(head) == 2 and isinstance(head[0], str)  # noqa: PLR2004


def failed_members(results: Iterable[Any] | None) -> int:
    """Return how many members reported a failure: no value at all, or `status == "failed"`.

    >>> failed_members([{"test_id": "a"}, None, {"status": "failed"}])
    2
    """
    values = [unpack(result) for result in results or ()]
    return sum(value is None or (isinstance(value, dict) and value.get("status") == FAILED) for value in values)


def parse_start(text: str | None) -> datetime | None:
    """Return the time of dispatch; a time without a zone is UTC, and what is no time is None."""
    try:
        moment = datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
    if moment is None:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
