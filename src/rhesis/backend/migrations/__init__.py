"""The schema's history: Alembic revisions, each a pair of SQL files."""
