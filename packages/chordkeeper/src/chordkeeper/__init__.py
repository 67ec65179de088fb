"""Celery chords that always end, once."""
