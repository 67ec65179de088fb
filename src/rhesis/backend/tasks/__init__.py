"""Background tasks, and how to launch them.

`task_launcher` and the task classes' base are here; tasks themselves are imported on first use, so that importing this
package neither connects nor needs a configured Celery.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from rhesis.backend.tasks.launching import (
    DispatchFailed,
    TaskState,
    launch_run,
    revoke_task,
    task_launcher,
    task_state,
)

if TYPE_CHECKING:
    from rhesis.backend.tasks.base import BaseTask, with_tenant_context
    from rhesis.backend.tasks.example_task import echo, manual_db_example
    from rhesis.backend.tasks.test_configuration import execute_test_configuration, get_test_configuration
    from rhesis.backend.tasks.test_set import count_test_sets

_HOMES = {
    "BaseTask": "base",
    "with_tenant_context": "base",
    "echo": "example_task",
    "manual_db_example": "example_task",
    "execute_test_configuration": "test_configuration",
    "get_test_configuration": "test_configuration",
    "count_test_sets": "test_set",
}

__all__ = [
    "BaseTask",
    "DispatchFailed",
    "TaskState",
    "count_test_sets",
    "echo",
    "execute_test_configuration",
    "get_test_configuration",
    "launch_run",
    "manual_db_example",
    "revoke_task",
    "task_launcher",
    "task_state",
    "with_tenant_context",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{home}"), name)
