"""Hostile pruning problems against exact rational arithmetic: no tolerance anywhere."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from bounds import pruning_range
from bounds.problem.sparsity import paper_box
from tests.references.pruning_instances import pattern_supports

METHODS = ("exact", "perspective", "perspective-split", "swap", "obs")


@dataclass(frozen=True)
class Instance:
    """One channel: Gram (n, n), weights (n,), options of ``pruning_range``, optimum as a fraction.

    ``box``: the edges that the options' factor means, or None.
    """

    index: int
    gram: np.ndarray
    weights: np.ndarray
    options: dict[str, Any]
    node_limit: int | None
    optimum: Fraction


def instances(seed: int, first: int, count: int) -> Iterator[Instance]:
    """Badly scaled, nearly singular, coarse and tied problems of 2 to 8 inputs."""
    for index in range(first, first + count):
        rng = np.random.default_rng([seed, index])
        made = _instance(rng, index)
        if made is not None:
            yield made


def _instance(rng: np.random.Generator, index: int) -> Instance | None:
    n = int(rng.integers(2, 9))
    kind = int(rng.integers(6))
    spread = np.geomspace(1, 10 ** -rng.uniform(0, 4.5), n)
    turn, back = (np.linalg.qr(rng.standard_normal((n, n)))[0] for _ in range(2))
    rows = rng.standard_normal((3 * n, n)) @ (turn * spread) @ back
    if kind == 1:
        rows = np.round(rows * 4) / 4
    elif kind == 2:
        rows[:, 1] = rows[:, 0] + 1e-3 * rng.standard_normal(3 * n)
    elif kind == 3:
        rows *= 10.0 ** rng.uniform(-4, 4, n)
    elif kind == 4:
        rows = rng.integers(-2, 3, (3 * n, n)).astype(float)
    elif kind == 5:
        rows = np.abs(rows)
    rows = rows * 10 ** rng.uniform(-12, 12)
    gram = rows.T @ rows
    gram = (gram + gram.T) / 2
    weights = rng.standard_normal(n) * 10 ** rng.uniform(-6, 6)
    if rng.random() < 0.25:
        weights = np.round(weights / np.abs(weights).max() * 3)
    limit = int(rng.choice([0, 0, 0, 1, 3, 10])) or None
    if not weights.any() or (np.diag(gram) <= 0).any():
        return None
    unit = np.sqrt(np.diag(gram))
    if np.linalg.eigvalsh(gram / unit / unit[:, None])[0] < 1e-12:
        return None
    options, supports, box = _budget(rng, gram, weights)
    optimum = min(_least(gram, weights, support, box) for support in supports)
    return Instance(index, gram, weights, options, limit, optimum)


def _budget(
    rng: np.random.Generator, gram: np.ndarray, weights: np.ndarray
) -> tuple[dict[str, Any], Iterable[tuple[int, ...]], tuple[float, float] | None]:
    """Options, the largest supports they allow, and the box in numbers."""
    n = len(weights)
    choice = rng.random()
    keep = int(rng.integers(1, n))
    if choice < 0.2:
        size = int(rng.integers(2, n + 1))
        pattern = (int(rng.integers(1, size)), size)
        return {"pattern": pattern}, pattern_supports(np.ones(n, bool), pattern), None
    options: dict[str, Any] = {"keep": keep}
    if choice < 0.4 and n <= 4:
        options["box"] = float(rng.choice([0.5, 1.0, 2.0]))
        edges = paper_box(weights, options["box"])
        return options, itertools.combinations(range(n), keep), (edges.low, edges.high)
    return options, itertools.combinations(range(n), keep), None


def _least(
    gram: np.ndarray,
    weights: np.ndarray,
    support: tuple[int, ...],
    box: tuple[float, float] | None,
) -> Fraction:
    """The least error on a support: over all choices of weights held at an edge of the box."""
    best = None
    for held in itertools.product((None, *(box or ())), repeat=len(support)):
        fixed = {i: Fraction(v) for i, v in zip(support, held, strict=True) if v is not None}
        free = tuple(i for i in support if i not in fixed)
        value = _error(gram, weights, free, fixed, box)
        if value is not None and (best is None or value < best):
            best = value
    assert best is not None
    return best


def _error(
    gram: np.ndarray,
    weights: np.ndarray,
    free: tuple[int, ...],
    fixed: dict[int, Fraction],
    box: tuple[float, float] | None,
) -> Fraction | None:
    """Error of least squares on ``free`` with other weights fixed; None if it leaves the box."""
    g = [[Fraction(float(x)) for x in row] for row in gram]
    n = len(g)
    gone = [Fraction(float(x)) - fixed.get(i, 0) for i, x in enumerate(weights)]
    pull = [sum((g[i][j] * gone[j] for j in range(n)), Fraction(0)) for i in range(n)]
    error = sum((pull[i] * gone[i] for i in range(n)), Fraction(0))
    rows = [[g[i][j] for j in free] + [pull[i]] for i in free]
    size = len(free)
    for a in range(size):
        error -= rows[a][size] ** 2 / rows[a][a]
        for b in range(a + 1, size):
            factor = rows[b][a] / rows[a][a]
            rows[b] = [x - factor * y for x, y in zip(rows[b], rows[a], strict=True)]
    if box is not None:
        value = [Fraction(0)] * size
        for a in reversed(range(size)):
            known = sum(rows[a][b] * value[b] for b in range(a + 1, size))
            value[a] = (rows[a][size] - known) / rows[a][a]
            if not Fraction(box[0]) <= value[a] <= Fraction(box[1]):
                return None
    return error


def breaches(instance: Instance) -> Iterator[str]:
    """Every statement of every method that is not true, exactly."""
    for method in METHODS:
        for limit in {None, instance.node_limit if method == "exact" else None}:
            found = pruning_range(
                instance.gram,
                instance.weights,
                method=method,
                node_limit=limit,
                time_limit=None,
                **instance.options,
            )
            lower, upper = Fraction(float(found.lower[0])), Fraction(float(found.upper[0]))
            name = f"{instance.index} {method} {instance.options} limit {limit}"
            if lower > instance.optimum:
                yield f"{name}: lower above the optimum by {float(lower - instance.optimum):.1e}"
            if upper < instance.optimum:
                yield f"{name}: upper below the optimum"
            gap = float(upper - lower)
            if found.status[0] == "exact" and gap > max(
                1e-9 * float(upper), 1e-13 * found.energy[0]
            ):
                yield f"{name}: exact with a gap of {gap}"
