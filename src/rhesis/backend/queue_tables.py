"""The tables of Celery's stock PostgreSQL broker and result backend.

Both libraries create them on first use, each process for itself: two that start together collide. So `rhesis migrate`
makes them beforehand, in the schema of the role that owns them.
"""

from celery.backends.database import models as _celery_models  # noqa: F401 - declares the tables
from celery.backends.database.session import ResultModelBase  # type: ignore[attr-defined]
from kombu.transport.sqlalchemy import models as kombu_models
from sqlalchemy import URL, create_engine


def create_queue_tables(url: URL) -> None:
    """Create what is missing, as the login of `url`, in the schema its search path names."""
    made = create_engine(url)
    try:
        _declare_kombu_tables()
        kombu_models.metadata.create_all(made)
        ResultModelBase.metadata.create_all(made)
    finally:
        made.dispose()


def _declare_kombu_tables() -> None:
    registry = kombu_models.class_registry
    if "Queue" not in registry:
        type("Queue", (kombu_models.Queue, kombu_models.ModelBase), {"__tablename__": "kombu_queue"})
        type("Message", (kombu_models.Message, kombu_models.ModelBase), {"__tablename__": "kombu_message"})
