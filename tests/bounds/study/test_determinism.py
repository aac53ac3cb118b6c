"""Same inputs, same bytes: whatever the number of threads, processes and solves at a time."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bounds import pruning_range, quantization_range
from bounds.problem.methods import find_method, methods
from bounds.problem.range import Range
from bounds.results.ranges import load_rows
from bounds.study.run.running import Report, run_study
from tests.bounds.conftest import Ran
from tests.bounds.study.study_cases import timeless

FIELDS = ("lower", "upper", "energy", "weights", "nodes")
#: Slow ones whose own solver runs beside ours; everything we claim of them is in the fast tests.
EXTERNAL = ("sdp-scs", "scip")


def problem(seed: int, n: int, channels: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((4 * n, n)) @ (np.eye(n) + 0.3 * rng.standard_normal((n, n)))
    gram = rows.T @ rows
    # What this product's bits are may depend on the threads; what is solved must not.
    gram = np.round((gram + gram.T) * 256) / 512
    return gram, np.round(rng.standard_normal((channels, n)) * 1024) / 1024


def ranges(n: int = 20, channels: int = 3) -> Iterator[Range]:
    """Every method of both problems, and searches that a node limit ends; 70 inputs without one.

    But those that treat a layer's channels together: they are products of matrices, whose last
    digits a BLAS of many threads may change.
    """
    gram, weights = problem(1, n, channels)
    for method in methods("quantization"):
        if method not in EXTERNAL and not find_method("quantization", method).together:
            yield quantization_range(
                gram, weights, bits=3, scale=0.3, method=method, time_limit=None
            )
    for method in methods("pruning"):
        if method not in EXTERNAL and not find_method("pruning", method).together:
            yield pruning_range(gram, weights, keep=n // 3, method=method, time_limit=None)
    gram, weights = problem(2, 70, 2)
    yield quantization_range(gram, weights, bits=2, scale=0.5, node_limit=20_000, time_limit=None)
    yield pruning_range(gram, weights, keep=30, node_limit=50, time_limit=None)
    yield pruning_range(gram, weights, keep=30, method="perspective", box=2.0)


def digest(found: Range) -> str:
    hashed = hashlib.sha256()
    for name in FIELDS:
        hashed.update(np.ascontiguousarray(getattr(found, name)).tobytes())
    hashed.update(" ".join([*found.status, found.method, *found.notes]).encode())
    return hashed.hexdigest()


def digests() -> list[str]:
    return [digest(found) for found in ranges()]


@pytest.fixture(scope="module")
def expected() -> list[str]:
    return digests()


def test_a_digest_sees_every_bit(expected):
    assert len(set(expected)) == len(expected)
    found = next(ranges())
    changed = np.nextafter(found.upper, np.inf)
    assert digest(replace(found, upper=changed)) != digest(found)


def test_again(expected):
    assert digests() == expected


@pytest.mark.parametrize("threads", [1, 4])
def test_in_a_process_with_so_many_threads(expected, threads):
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    program = (
        "from tests.bounds.study.test_determinism import digests\nprint(*digests(), sep='\\n')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | dict.fromkeys(names, str(threads)) | {"PYTHONHASHSEED": str(threads)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == expected


def test_several_at_a_time(expected):
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda _: digests(), range(4))) == [expected] * 4


def test_a_channel_does_not_depend_on_its_neighbours():
    gram, weights = problem(3, 16, 4)
    for solve in (
        lambda w: quantization_range(gram, w, bits=3, scale=0.3, time_limit=None),
        lambda w: pruning_range(gram, w, keep=5, time_limit=None),
        lambda w: pruning_range(gram, w, keep=5, method="swap"),
        lambda w: quantization_range(gram, w, bits=3, scale=0.3, method="gptq"),
    ):
        together = solve(weights)
        for c in range(4):
            alone = solve(weights[c])
            assert np.array_equal(alone.weights[0], together.weights[c])
            assert alone.upper[0] == together.upper[c]


def certificates(results: Path) -> dict[str, bytes]:
    found = {path.name: path.read_bytes() for path in results.rglob("*.jsonl")}
    assert len(found) == 36
    return found


def certified(run: Ran, results: Path, workers: int, backend: str) -> Report:
    solve = replace(run.study.solve, workers=workers, backend=backend, certificates=True)
    return run_study(replace(run.study, solve=solve), results=results, dumps=run.dumps)


@pytest.fixture(scope="module")
def alone(ran, tmp_path_factory) -> dict[str, bytes]:
    """Certificates of a study whose tasks were solved one by one."""
    results = tmp_path_factory.mktemp("alone")
    certified(ran, results, 1, "threads")
    return certificates(results)


@pytest.mark.parametrize(("workers", "backend"), [(4, "threads"), (2, "processes")])
def test_a_study_in_threads_and_processes(ran, alone, tmp_path, workers, backend):
    """Rows and certificates, bit for bit."""
    report = certified(ran, tmp_path, workers, backend)
    assert not report.failures
    rows, before = (timeless(load_rows(one.results)) for one in (report, ran.report))
    assert repr(rows) == repr(before)
    assert certificates(tmp_path) == alone
