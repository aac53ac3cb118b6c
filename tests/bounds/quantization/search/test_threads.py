"""The same bytes come out whatever runs beside a call: threads of BLAS, or other calls."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from bounds import quantization_range
from bounds.problem.range import Range

METHODS = ("gptq", "beam", "sdp", "park-boyd", "exact")
SCRIPT = """
import sys
import numpy as np
from tests.bounds.quantization.search.test_threads import METHODS, digest, solve
sys.stdout.write(digest([solve(method, n) for n in (36, 140) for method in METHODS]))
"""


def solve(method: str, n: int) -> Range:
    """Wide enough at n = 140 for BLAS to share its work out, and too wide for 2e5 nodes."""
    rng = np.random.default_rng(n)
    rows = rng.standard_normal((2 * n, n))
    limit = 200_000 if method == "exact" and n > 100 else None
    return quantization_range(
        rows.T @ rows if n < 100 else np.tri(n) @ np.tri(n).T + np.eye(n),
        rng.standard_normal((2, n)), bits=3, scale=0.5, method=method, node_limit=limit,
        time_limit=None)  # fmt: skip


def digest(ranges: list[Range]) -> str:
    return "\n".join(
        part.tobytes().hex() for r in ranges for part in (r.lower, r.upper, r.weights, r.nodes)
    )


def test_threads_of_the_libraries_change_no_byte():
    answers = []
    for threads in ("1", "4"):
        names = ("OMP", "OPENBLAS", "MKL", "NUMBA")
        environment = os.environ | {f"{name}_NUM_THREADS": threads for name in names}
        run = subprocess.run(
            [sys.executable, "-c", SCRIPT],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        answers.append(run.stdout)
    assert answers[0] == answers[1]


def test_calls_side_by_side_change_no_byte():
    calls = [(method, 36) for method in METHODS] * 2
    alone = [digest([solve(*call)]) for call in calls[: len(METHODS)]]
    with ThreadPoolExecutor(4) as pool:
        together = [digest([r]) for r in pool.map(lambda call: solve(*call), calls)]
    assert together == alone * 2
