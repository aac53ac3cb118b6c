"""Seeded quantization problems on grids of every kind, and their optimum by trying everything."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bounds.problem.grid import Grid

GRAMS = ("random", "singular", "clipped", "duplicated", "dead", "spread")
GRIDS = ("groups", "zeros", "real-zeros", "codebook", "ternary", "far-groups", "unsigned")

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Case:
    gram: Floats
    weights: Floats
    grid: Grid


def case(gram: str, grid: str, n: int, seed: int, channels: int = 2) -> Case:
    """``far-groups``: steps of neighbouring groups differ up to 1e8 times."""
    rng = np.random.default_rng([seed, n, GRAMS.index(gram), GRIDS.index(grid)])
    rows = rng.standard_normal((max(1, n // 2) if gram == "singular" else n + 5, n))
    if gram == "duplicated":
        rows[:, -1] = rows[:, 0] * (1 + 1e-9 * (seed % 2))
    if gram == "dead" and n > 1:
        rows[:, n // 2] = 0
    if gram == "spread":
        rows *= 10 ** rng.uniform(-4, 4, n)
    weights = rng.standard_normal((channels, n)) * (5.0 if gram == "clipped" else 1.0)
    size = int(rng.integers(1, n + 1))
    shape = (int(rng.choice([1, channels])), -(-n // size))
    wide = 4.0 if grid == "far-groups" else 0.3
    steps = 10 ** rng.uniform(-wide, wide, shape)
    return Case(rows.T @ rows, weights, _grid(grid, rng, steps, size))


def _grid(name: str, rng: np.random.Generator, steps: Floats, size: int) -> Grid:
    if name in ("groups", "far-groups"):
        return Grid.uniform(2, steps, 0, size)
    if name == "zeros":
        return Grid.uniform(2, steps, rng.integers(0, 4, steps.shape), size, signed=False)
    if name == "real-zeros":
        zeros = rng.uniform(-3, 9, steps.shape)
        return Grid.uniform(2, steps, zeros, size, signed=False, real_zero=True)
    if name == "unsigned":
        zeros = rng.integers(0, 4, (len(steps), 1))
        return Grid.uniform(2, steps[:, :1], zeros, signed=False)
    if name == "ternary":
        return Grid.ternary(steps, size)
    levels = np.sort(rng.standard_normal(int(rng.integers(2, 6))))
    return Grid.codebook(levels, steps, size)


def brute_force(problem: Case) -> NDArray[np.longdouble]:
    """The optimum of every channel, over all points of the grid, in extended precision."""
    wide, grid = np.longdouble, problem.grid
    channels, n = problem.weights.shape
    levels = np.array(list(itertools.product(grid.levels, repeat=n)), wide)
    gram = problem.gram.astype(wide)
    steps, zeros = (x(channels, n).astype(wide) for x in (grid.steps, grid.zeros))
    best = []
    for c, w in enumerate(problem.weights):
        difference = steps[c] * (levels - zeros[c]) - w
        best.append(((difference @ gram) * difference).sum(axis=1).min())
    return np.array(best)
