"""The registered names of the tasks that other parts of the service refer to.

Routes, annotations and the task ledger go by these; a test compares them with what is registered.
"""

EXECUTE_TEST_CONFIGURATION = "rhesis.backend.tasks.execute_test_configuration"
EXECUTE_SINGLE_TEST = "rhesis.backend.tasks.execute_single_test"
EXECUTE_TESTS_IN_ORDER = "rhesis.backend.tasks.execution.orchestration.execute_tests_in_order"
COLLECT_RESULTS = "rhesis.backend.tasks.execution.results.collect_results"
CLOSE_FAILED_RUN = "rhesis.backend.tasks.execution.results.close_failed_run"
