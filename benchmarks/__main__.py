"""Measure the service and print the figures.

    python -m benchmarks throughput    1,000 tests against an endpoint that answers in 2 s, at concurrency 64
    python -m benchmarks memory        peak memory of API and workers at 1,000 and at 10,000 tests
    python -m benchmarks progress      one progress request while 100,000 results are stored
    python -m benchmarks               throughput and memory

Ratios and peaks are to be compared on one machine and in one run; absolute times say little.
"""

import argparse
import math
import os
import platform
import statistics
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.running_service import make_configuration, peak_memory_mib, running_service, slow_endpoint, timed_run

_LARGE_TIMEOUT_SECONDS = 1800.0


def throughput(*, tests: int, concurrency: int, seconds: float, runs: int) -> None:
    """Print the time of a run as a multiple of the least possible: `ceil(tests / concurrency)` answers in a row."""
    ideal = math.ceil(tests / concurrency) * seconds
    with tempfile.TemporaryDirectory() as name, slow_endpoint(seconds, Path(name)) as url:
        for number in range(runs):
            with running_service(concurrency=concurrency) as service:
                configuration_id = make_configuration(service.api, url, tests, Path(name))
                took, status = timed_run(service.api, configuration_id, timeout_seconds=_LARGE_TIMEOUT_SECONDS)
            print(
                f"throughput run {number + 1}: {tests} tests, {seconds} s each, concurrency {concurrency}: "
                f"{took:.1f} s, ideal {ideal:.1f} s, ratio {took / ideal:.2f}, {status}",
                flush=True,
            )


def memory(*, sizes: tuple[int, ...], concurrency: int) -> None:
    """Print the peak memory of each kind of process after a run of each size, each on a fresh service."""
    with tempfile.TemporaryDirectory() as name, slow_endpoint(0.02, Path(name)) as url:
        for tests in sizes:
            with running_service(concurrency=concurrency) as service:
                configuration_id = make_configuration(service.api, url, tests, Path(name))
                took, status = timed_run(service.api, configuration_id, timeout_seconds=_LARGE_TIMEOUT_SECONDS)
                peaks = peak_memory_mib(service.process_id)
            listed = ", ".join(f"{kind} {peak} MiB" for kind, peak in sorted(peaks.items()) if kind != "other")
            print(f"memory: {tests} tests in {took:.1f} s, {status}; peak {listed}", flush=True)


def progress(*, tests: int, concurrency: int, requests: int) -> None:
    """Print the time of a progress request after a run of `tests` tests."""
    with (
        tempfile.TemporaryDirectory() as name,
        slow_endpoint(0.0, Path(name)) as url,
        running_service(concurrency=concurrency) as service,
    ):
        configuration_id = make_configuration(service.api, url, tests, Path(name))
        timed_run(service.api, configuration_id, timeout_seconds=_LARGE_TIMEOUT_SECONDS)
        run_id = service.api.get("/test_runs")[0]["id"]
        times = []
        for _ in range(requests):
            began = time.perf_counter()
            service.api.get(f"/test_runs/{run_id}/progress")
            times.append((time.perf_counter() - began) * 1000)
    print(f"progress: median {statistics.median(times):.1f} ms of {requests} requests, {tests} results in the run")


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("figure", nargs="?", choices=("all", "throughput", "memory", "progress"), default="all")
    parser.add_argument("--tests", type=int, default=1000)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    print(
        f"{datetime.now(UTC):%Y-%m-%d} {platform.platform()}, {os.cpu_count()} CPUs, Python {platform.python_version()}"
    )
    if options.figure in {"all", "throughput"}:
        throughput(tests=options.tests, concurrency=options.concurrency, seconds=options.seconds, runs=options.runs)
    if options.figure in {"all", "memory"}:
        memory(sizes=(options.tests, 10 * options.tests), concurrency=options.concurrency)
    if options.figure == "progress":
        progress(tests=options.tests, concurrency=options.concurrency, requests=50)


if __name__ == "__main__":
    main()
