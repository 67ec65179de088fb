"""The queries, and nothing else: no permission, no commit."""
