"""Tasks on test sets."""

from typing import Any

from sqlalchemy.orm import Session

from rhesis.backend.app import crud
from rhesis.backend.tasks.base import BaseTask, with_tenant_context
from rhesis.backend.worker import app


@app.task(base=BaseTask, bind=True, name="rhesis.backend.tasks.count_test_sets")
@with_tenant_context
def count_test_sets(self: BaseTask, db: Session) -> dict[str, Any]:
    """Count the organization's test sets."""
    context = self.context
    return {
        "count": len(crud.get_test_sets(db)),
        "organization_id": context.organization_id or "unknown",
        "user_id": context.user_id or "unknown",
    }
