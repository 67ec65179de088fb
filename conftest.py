"""Keep pytest out of the product tree: `tasks/test_configuration.py` and `tasks/test_set.py` are not tests."""

collect_ignore_glob = ["src/*"]
