"""Figures of the service, measured on the service itself. `python -m benchmarks --help` names them."""
