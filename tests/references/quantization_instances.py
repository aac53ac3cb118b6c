"""Seeded quantization problems, and their optimum by trying every code vector."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

KINDS = ("random", "ill-conditioned", "singular", "clipped", "duplicated", "dead")


@dataclass(frozen=True)
class Instance:
    gram: NDArray[np.float64]
    weights: NDArray[np.float64]
    bits: int
    scale: float

    @property
    def box(self) -> tuple[int, int]:
        return -(2 ** (self.bits - 1)), 2 ** (self.bits - 1) - 1


def instance(kind: str, n: int, bits: int, seed: int, channels: int = 2) -> Instance:
    rng = np.random.default_rng([seed, n, bits, KINDS.index(kind)])
    rows = rng.standard_normal((max(1, n // 2) if kind == "singular" else n + 5, n))
    if kind == "ill-conditioned":
        rows = rows @ np.diag(np.geomspace(1, 1e-5, n)) @ rng.standard_normal((n, n))
    if kind == "duplicated" and n > 1:
        rows[:, -1] = rows[:, 0]
    if kind == "dead" and n > 1:
        rows[:, n // 2] = 0
    gram = rows.T @ rows
    weights = rng.standard_normal((channels, n)) * (4.0 if kind == "clipped" else 1.0)
    scale = 2.0 / 2 ** (bits - 1) * float(rng.uniform(0.3, 1.5))
    return Instance((gram + gram.T) / 2, weights, bits, scale)


def brute_force(problem: Instance) -> NDArray[np.longdouble]:
    """The optimum of every channel, over all codes in the box, in extended precision."""
    lo, hi = problem.box
    n = problem.weights.shape[1]
    codes = np.array(list(itertools.product(range(lo, hi + 1), repeat=n)), np.longdouble)
    gram = problem.gram.astype(np.longdouble)
    best = []
    for w in problem.weights:
        difference = codes * np.longdouble(problem.scale) - w
        best.append(((difference @ gram) * difference).sum(axis=1).min())
    return np.array(best)
