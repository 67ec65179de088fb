"""The execution of a run: dispatch, single tests, collection, liveness."""
