"""Budgets shared by channels, against every allocation there is."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from bounds import budget_range, joint_range, pruning_range
from bounds.errors import ProblemError
from bounds.layer.budget import allocate, best_price

RNG = np.random.default_rng(3)
INPUTS = RNG.normal(size=(40, 6)) @ RNG.normal(size=(6, 6))
GRAM = INPUTS.T @ INPUTS
WEIGHTS = RNG.normal(size=(3, 6)) * np.array([[0.2], [1.0], [3.0]])


def all_errors(grid):
    """Optima (channels, 7) of every k, one search each."""
    found = []
    for k in range(7):
        if grid:
            found.append(joint_range(GRAM, WEIGHTS, keep=k, bits=3, scale=grid).upper)
        else:
            found.append(pruning_range(GRAM, WEIGHTS, keep=k).upper)
    return np.array(found).T


@pytest.mark.parametrize("grid", [None, 0.5])
@pytest.mark.parametrize("keep", [0, 1, 5, 9, 14, 18])
def test_it_is_the_best_of_all_allocations(keep, grid):
    errors = all_errors(grid)
    best = min(
        sum(errors[c, k] for c, k in enumerate(split))
        for split in itertools.product(range(7), repeat=3)
        if sum(split) <= keep
    )
    options = {} if grid is None else {"bits": 3, "scale": grid}
    found = budget_range(GRAM, WEIGHTS, keep=keep, **options)
    floor = 1e-12 * found.energy.sum()
    assert found.lower <= best + floor and found.upper >= best - floor
    assert found.upper == pytest.approx(best, rel=1e-9, abs=floor)
    assert found.lower == pytest.approx(best, rel=1e-9, abs=floor)
    assert found.priced <= found.lower and found.upper <= found.equal * (1 + 1e-12) + floor
    assert found.kept.sum() <= keep
    d = found.weights - WEIGHTS
    assert ((d @ GRAM) * d).sum() == pytest.approx(found.upper, rel=1e-9, abs=floor)
    assert found.exact == found.solved < 3 * 7 + 1


def test_the_price_is_a_bound_and_the_allocation_a_minimum():
    rng = np.random.default_rng(0)
    table = np.sort(rng.exponential(size=(4, 6)), axis=1)[:, ::-1].copy()
    for keep in (0, 3, 7, 20):
        every = [
            sum(table[c, k] for c, k in enumerate(split))
            for split in itertools.product(range(6), repeat=4)
            if sum(split) <= keep
        ]
        value, kept = allocate(table, keep)
        assert value == pytest.approx(min(every)) and kept.sum() <= keep
        price, bound = best_price(table, keep)
        assert price >= 0 and bound <= min(every)
        prices = np.linspace(0, table.max(), 2000)
        k = np.arange(6)
        best = max((table + p * k).min(axis=1).sum() - p * keep for p in prices)
        assert bound >= best - 1e-9


def test_a_search_cut_short_still_bounds():
    found = budget_range(GRAM, WEIGHTS, keep=7, bits=3, scale=0.5, node_limit=1)
    exact = budget_range(GRAM, WEIGHTS, keep=7, bits=3, scale=0.5)
    assert found.lower <= exact.lower and exact.upper <= found.upper
    assert found.snr_attained <= exact.snr_attained <= exact.snr_bound + 1e-9 <= found.snr_bound + 1


def test_what_is_refused():
    with pytest.raises(ProblemError, match="at most the 18 weights"):
        budget_range(GRAM, WEIGHTS, keep=19)
    with pytest.raises(ProblemError, match="keep must be a whole number"):
        budget_range(GRAM, WEIGHTS, keep=2.5)  # type: ignore[arg-type]
