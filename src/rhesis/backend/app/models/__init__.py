"""Tables as classes. The SQL in `migrations/sql` makes them; a test compares the two."""

from rhesis.backend.app.models.base import Base
from rhesis.backend.app.models.endpoint import Endpoint
from rhesis.backend.app.models.execution import TestConfiguration, TestResult, TestRun
from rhesis.backend.app.models.identity import Organization, Token, User
from rhesis.backend.app.models.operations import TaskRecord, WorkerHeartbeat
from rhesis.backend.app.models.testing import Test, TestSet, TestTestSet

__all__ = [
    "Base",
    "Endpoint",
    "Organization",
    "TaskRecord",
    "Test",
    "TestConfiguration",
    "TestResult",
    "TestRun",
    "TestSet",
    "TestTestSet",
    "Token",
    "User",
    "WorkerHeartbeat",
]
