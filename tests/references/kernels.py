"""Which kernels real calls use, beyond those that were compiled for their method beforehand."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from bounds import pruning_range, quantization_range
from bounds.problem.grid import Grid
from bounds.problem.kernels import compile_kernels
from bounds.problem.methods import QUANTIZATION, Method, find_method
from bounds.problem.methods import methods as known


def new_signatures(problem: str, methods: Sequence[str] = ()) -> list[str]:
    """Kernels, with types, that solving varied problems added to those compiled ahead.

    Method by method, the cheapest first, so that none profits from the kernels of a richer one.
    """
    found = []
    for method in methods or known(problem):
        chosen = find_method(problem, method)
        if chosen.foreign:  # they take seconds
            continue
        compile_kernels(chosen)
        before = signatures()
        for gram, weights, options in problems(chosen):
            if problem == QUANTIZATION:
                quantization_range(gram, weights, method=method, **options)
            else:
                pruning_range(gram, weights, method=method, **options)
        found += [f"{method}: {name}" for name in sorted(signatures() - before)]
    return found


def signatures() -> set[str]:
    """Every kernel of ours and the types it is ready for."""
    return {
        f"{name}.{key}{types}"
        for name, module in list(sys.modules.items())
        if name.startswith("bounds.")
        for key, value in list(vars(module).items())
        if hasattr(value, "overloads") and hasattr(value, "py_func")
        for types in value.signatures
    }


def problems(method: Method) -> Iterator[tuple[Any, Any, dict[str, Any]]]:
    """(gram, weights, options): sizes, memory orders, dead and dependent inputs, hard ones."""
    problem, takes = method.kind, method.takes
    # Nearly dependent inputs can make any search long: every one has an end.
    ends = {"node_limit": 5000} if "limits" in takes else {}
    demands = [d | ends for d in (_grids(takes) if problem == QUANTIZATION else _budgets())]
    for n, channels in ((1, 1), (1, 3), (2, 1), (7, 1), (7, 4)):
        rng = np.random.default_rng([n, channels])
        inputs, weights = rng.normal(size=(3 * n, n)), rng.normal(size=(channels, n))
        dependent = np.concatenate([inputs[:, :1]] * n, axis=1) + 1e-9 * inputs
        dead = inputs * (np.arange(n) != n // 2)
        asked = demands
        if problem == QUANTIZATION:
            asked = demands + [{"grid": grid} | ends for grid in _steps(n)]
        for rows in (inputs, dependent, dead, inputs * 1e-120, inputs[: n // 2 + 1]):
            gram = rows.T @ rows
            for options in asked:
                if options.get("keep", 0) <= n:
                    yield gram, weights, options
        gram = np.asfortranarray((inputs.T @ inputs).astype(np.float32))
        yield gram, np.asfortranarray(weights.astype(np.float32)), demands[0]
        yield gram.tolist(), weights.tolist(), demands[0]
    if "limits" in takes:
        yield from _hard(problem)


def _grids(takes: frozenset[str]) -> Iterator[dict[str, Any]]:
    for bits, scale in ((1, 1.0), (3, 0.4), (8, 0.01)):
        yield {"bits": bits, "scale": scale}
    if "pairs" in takes:
        yield {"bits": 3, "scale": 0.4, "pairs": 3}


def _steps(n: int) -> Iterator[Grid]:
    """Grids of groups, a codebook among them, and of a zero point."""
    steps = [[0.2 + 0.1 * g for g in range(-(-n // 2))]]
    yield Grid.uniform(3, steps, 0, 2)
    yield Grid.nf4(steps, 2)
    yield Grid.uniform(4, 0.1, 3, signed=False)


def _budgets() -> Iterator[dict[str, Any]]:
    yield {"keep": 1}
    yield {"keep": 0}
    yield {"keep": 3, "box": 0.1}
    yield {"keep": 3, "box": 2}
    yield {"pattern": (2, 4), "box": 0.5}
    yield {"pattern": (1, 2)}


def _hard(problem: str) -> Iterator[tuple[Any, Any, dict[str, Any]]]:
    """Searches that meet their limits, long after the easy part."""
    rng = np.random.default_rng(40)

    inputs = rng.normal(size=(45, 40))
    gram, weights = inputs.T @ inputs, rng.normal(size=(2, 40))
    stiff = np.linalg.qr(rng.normal(size=(27, 27)))[0] * np.geomspace(1, 1e-3, 27)
    if problem == QUANTIZATION:
        for some in (weights[:, :27], weights[:1, :27], 4 * weights[:, :27]):
            yield stiff @ stiff.T, some, {"bits": 4, "scale": 0.2, "node_limit": 60_000}
    for rows in (weights, weights[:1]):
        if problem == QUANTIZATION:
            yield gram, rows, {"bits": 4, "scale": 0.3, "node_limit": 600_000}
        else:
            yield gram, rows, {"keep": 20, "node_limit": 300}
            yield gram, rows, {"keep": 20, "box": 0.5, "node_limit": 300}
            yield gram, rows, {"pattern": (2, 4), "box": 1.5, "time_limit": 0.05}
