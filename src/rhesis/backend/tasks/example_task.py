"""Small tasks that show how context and sessions work."""

from typing import Any

from rhesis.backend.app import crud
from rhesis.backend.tasks.base import BaseTask
from rhesis.backend.tasks.context import context_of
from rhesis.backend.worker import app


@app.task(base=BaseTask, bind=True, name="rhesis.backend.tasks.echo")
def echo(self: BaseTask, message: str) -> str:
    """Return the message and whose task it is; `unknown` where nobody said."""
    context = context_of(self.request)
    return (
        f"Message: {message}, Organization: {context.organization_id or 'unknown'}, "
        f"User: {context.user_id or 'unknown'}"
    )


@app.task(base=BaseTask, bind=True, name="rhesis.backend.tasks.manual_db_example")
def manual_db_example(self: BaseTask) -> dict[str, Any]:
    """Count the organization's test sets with a session opened by hand."""
    with self.get_db_session() as db:
        return {"test_set_count": len(crud.get_test_sets(db))}
