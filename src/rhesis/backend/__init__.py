"""Multi-tenant service that runs test sets against endpoints as Celery chords."""
