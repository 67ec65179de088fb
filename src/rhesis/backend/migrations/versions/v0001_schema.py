"""Create the application's tables, their row-level security and the grants of the four roles.

Revision ID: 0001
Revises:
"""

from rhesis.backend.migrations.sql_files import run_sql_file

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create everything."""
    run_sql_file("0001_schema.sql")
    run_sql_file("0001_security.sql")


def downgrade() -> None:
    """Refuse: a backup is the way back."""
    raise NotImplementedError("restore a backup: this schema only goes forward")
