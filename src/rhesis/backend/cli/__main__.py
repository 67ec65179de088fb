"""`python -m rhesis.backend.cli`."""

from rhesis.backend.cli.main import main

main()
