"""Read and run the SQL files beside the revisions, exactly as they are written."""

from importlib.resources import files

from alembic import op


def sql_text(name: str) -> str:
    """Return the text of `migrations/sql/NAME`."""
    return (files("rhesis.backend.migrations") / "sql" / name).read_text(encoding="utf-8")


def run_sql_file(name: str) -> None:
    """Run a whole file on the migration's own connection, without parameters and so without escaping."""
    connection = op.get_bind().connection.driver_connection
    if connection is None:
        raise RuntimeError("a migration needs an open connection")
    connection.execute(sql_text(name))
