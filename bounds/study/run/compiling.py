"""Kernels compiled before the first study needs them: each problem's in a process of its own.

numba compiles one kernel at a time in a process, whatever its threads. Two processes halve the wait
of a first run, and begin while the layers are extracted; numba's cache takes what they compile.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bounds.problem.methods import PROBLEMS, QUANTIZATION, find_method

_PACKAGE = Path(__file__).resolve().parents[2]


@contextmanager
def compiling(methods: dict[str, Sequence[str]]) -> Iterator[None]:
    """Compile the kernels of ``methods`` (per problem) beside the block; wait for the rest of it.

    An error of the block ends the compilers; their own errors are nobody's concern, for a kernel
    that is not in the cache is compiled when it is used.
    """
    started = []
    try:
        for problem in methods:
            command = [sys.executable, "-m", __name__, problem, *methods[problem]]
            started.append(
                subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
            )
        yield
        for process in started:
            process.wait()
    finally:
        for process in started:
            process.kill()
            process.wait()


def uncompiled() -> list[str]:
    """The problems whose kernels are newer than anything that numba has cached of them."""
    return [problem for problem in PROBLEMS if _newest_kernel(problem) > _newest_cached(problem)]


def _newest_kernel(problem: str) -> float:
    files = [*(_PACKAGE / problem).rglob("*.py"), *(_PACKAGE / "linalg").rglob("*.py")]
    return max(f.stat().st_mtime for f in files if "njit" in f.read_text("utf-8"))


def _newest_cached(problem: str) -> float:
    from numba import config

    folder = getattr(config, "CACHE_DIR", "")
    if folder:  # numba names the folders in it after those of the sources
        found = Path(folder).rglob("*.nbi")
    else:
        found = (_PACKAGE / problem).rglob("__pycache__/*.nbi")
    return max((path.stat().st_mtime for path in found), default=0.0)


def compile_kernels(problem: str, methods: Sequence[str]) -> None:
    """Solve a tiny problem by every method: of the types, if not of the size, of real ones."""
    import numpy as np

    from bounds import pruning_range, quantization_range

    rng = np.random.default_rng(0)
    inputs, weights = rng.normal(size=(50, 6)), rng.normal(size=(2, 6))
    gram = inputs.T @ inputs
    for method in methods:
        if find_method(problem, method).foreign:
            continue
        if problem == QUANTIZATION:
            quantization_range(gram, weights, bits=3, scale=0.3, method=method)
        else:
            pruning_range(gram, weights, keep=3, method=method)


if __name__ == "__main__":
    compile_kernels(sys.argv[1], sys.argv[2:])
