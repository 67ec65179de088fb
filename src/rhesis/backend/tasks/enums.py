"""The status words of runs, under the name the product's documents give them."""

from rhesis.backend.domain.run_status import ResultStatus, RunStatus

__all__ = ["ResultStatus", "RunStatus"]
