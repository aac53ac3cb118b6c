"""The dual that channels share: never above the optimum, near the dual of each channel alone."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest

from bounds import quantization_range
from bounds.layer.ascent import raise_diagonal
from bounds.layer.attempts import SINGULAR
from bounds.layer.envelope import least_sums, nearest_point
from bounds.layer.levels import Levels
from bounds.layer.polish import polished
from bounds.layer.proven import proven_values
from bounds.layer.shared import Layer, dual_values, moves, relaxed_values, share_diagonal
from bounds.problem.grid import Grid

METHODS = ("sdp-shared", "sdp-refined")


def gram_of(rng, n, rows=None, spread=0.0):
    inputs = rng.standard_normal((rows or n + 2, n)) * np.exp(rng.uniform(-spread, spread, n))
    product = inputs.T @ inputs
    return np.tril(product) + np.tril(product, -1).T


def fractions(values):
    return [Fraction(float(x)) for x in np.asarray(values).ravel()]


def least_error(gram, weights, choices):
    """Least ``(v-w)^T G (v-w)`` over the products of ``choices``, in rationals."""
    matrix = [fractions(row) for row in gram]
    target = fractions(weights)
    n = range(len(target))
    best = None
    for v in itertools.product(*choices):
        d = [a - b for a, b in zip(v, target, strict=True)]
        error = sum(matrix[i][j] * d[i] * d[j] for i in n for j in n)
        best = error if best is None else min(best, error)
    assert best is not None
    return best


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("n", "bits"), [(1, 1), (2, 3), (3, 3), (4, 2), (5, 2)])
def test_no_bound_is_above_the_optimum_in_rationals(method, n, bits):
    rng = np.random.default_rng([n, bits])
    levels = range(-(2 ** (bits - 1)), 2 ** (bits - 1))
    for case in range(0, 6, 1 if n < 4 else 3):
        gram = gram_of(rng, n, spread=case)
        weights = rng.standard_normal((4, n)) * [[0.3], [1], [3], [0]]
        steps = rng.uniform(0.2, 0.9, 4)
        found = quantization_range(gram, weights, bits=bits, scale=steps, method=method)
        for c, lower in enumerate(found.lower):
            choices = [[Fraction(steps[c]) * k for k in levels]] * n
            assert Fraction(float(lower)) <= least_error(gram, weights[c], choices)


def test_any_levels_any_multipliers():
    """Codebooks, zero points, a step for every weight, moves and diagonals that are far off."""
    rng = np.random.default_rng(3)
    for case in range(40):
        n = int(rng.integers(1, 4))
        gram = gram_of(rng, n)
        weights = rng.standard_normal((2, n)) * 10 ** rng.uniform(-2, 2)
        table = np.unique(rng.integers(-9, 9, 5)).astype(float) * rng.choice([1.0, 0.37, 1e-3])
        if len(table) < 2:
            continue
        step, zero = rng.uniform(0.1, 2, (2, n)), rng.integers(-3, 3, (2, n)).astype(float)
        levels = Levels(table, step, zero, False)
        diagonal = np.linalg.eigvalsh(gram)[0] * rng.uniform(0, 1.2, n) * rng.integers(0, 2, n)
        move = rng.standard_normal((2, n)) * 10 ** rng.uniform(-2, 1)
        _, _, lower = proven_values(Layer(gram, weights, levels), diagonal, move)
        for c in range(2):
            choices = [
                [Fraction(step[c, i]) * (Fraction(t) - Fraction(zero[c, i])) for t in table]
                for i in range(n)
            ]
            assert Fraction(float(lower[c])) <= least_error(gram, weights[c], choices), case


def test_least_sums_against_rationals():
    """From multipliers of no size at all to far beyond the ends, also at 16 bits."""
    rng = np.random.default_rng(8)
    for table in (np.arange(-4.0, 4.0), np.arange(-32768.0, 32768.0), np.array([-1.0, 0.1, 7.0])):
        uniform = len(table) != 3
        for size in (1e-8, 1.0, 1e6):
            w, y = rng.standard_normal((3, 4)) * size, rng.standard_normal((3, 4)) * size
            step, zero = rng.uniform(0.1, 1, (3, 4)), rng.standard_normal((3, 4))
            d = np.array([0.0, 1e-9, 1.0, 1e9])
            out = np.empty(3)
            least_sums(d, y, w, table, step, zero, uniform, out)
            for c in range(3):
                total, scale = Fraction(0), Fraction(0)
                for i in range(4):
                    s, z, t, a = (Fraction(float(x[c, i])) for x in (step, zero, w, y))
                    foot = (w[c, i] - y[c, i] / (2 * d[i] + 1e-300)) / step[c, i] + zero[c, i]
                    near = np.searchsorted(table, foot) + np.arange(-2, 3)
                    places = {0, len(table) - 1, *np.clip(near, 0, len(table) - 1).tolist()}
                    e = [s * (Fraction(float(table[k])) - z) - t for k in places]
                    terms = [Fraction(float(d[i])) * x * x + a * x for x in e]
                    total += min(terms)
                    scale += max(abs(x) for x in terms)
                assert total - scale * Fraction(1, 10**12) <= Fraction(out[c]) <= total


@pytest.mark.parametrize("uniform", [True, False])
def test_the_envelopes_nearest_point_by_trying(uniform):
    rng = np.random.default_rng(int(uniform))
    table = np.arange(-4.0, 4.0) if uniform else np.sort(rng.uniform(-4, 4, 7))
    fine = np.linspace(table[0], table[-1], 4001)
    low = np.clip(np.searchsorted(table, fine, "right") - 1, 0, len(table) - 2)
    spread = (fine - table[low]) * (table[low + 1] - fine)
    for _ in range(200):
        aim, target, ratio = rng.normal(0, 4), rng.normal(0, 4), 10 ** rng.uniform(-2, 2)
        cost = ratio * ((fine - target) ** 2 + spread) + (fine - aim) ** 2 / 2
        best = nearest_point(aim, target, ratio, table, uniform)
        assert abs(best - fine[cost.argmin()]) <= 2 * (fine[1] - fine[0])


def test_relaxation_and_dual_meet():
    rng = np.random.default_rng(2)
    gram = gram_of(rng, 30)
    weights = rng.standard_normal((20, 30))
    levels = Levels(np.arange(-4.0, 4.0), np.full((20, 30), 0.4), np.zeros((20, 30)), True)
    layer = Layer(gram, weights, levels)
    diagonal, penalty = share_diagonal(layer, float(np.linalg.eigvalsh(gram)[0]) * 0.9)
    assert np.linalg.eigvalsh(gram - np.diag(diagonal))[0] > 0
    move = moves(layer, diagonal, penalty)
    lower = dual_values(layer, diagonal, move)
    upper = relaxed_values(layer, diagonal, levels.clipped(weights + move))
    assert (lower <= upper * (1 + 1e-9)).all()
    assert lower.sum() >= 0.98 * upper.sum()
    _, _, proven = proven_values(layer, diagonal, move)
    np.testing.assert_allclose(proven, lower, rtol=1e-9)


def test_barrier_reaches_the_edge_of_a_known_cone():
    """On ``a I + b 11^T`` with equal gains the largest diagonal is ``a I``."""
    gram = 2.0 * np.eye(6) + np.ones((6, 6))
    diagonal = np.full(6, 0.1)
    for mu in (1.0, 0.1, 1e-3, 1e-6):
        diagonal = raise_diagonal(gram, diagonal, np.ones(6), mu, 30)
    np.testing.assert_allclose(diagonal, 2.0, rtol=1e-4)


def test_sharing_costs_little_and_refining_less():
    rng = np.random.default_rng(6)
    mix = np.eye(40) + 0.1 * rng.standard_normal((40, 40))
    inputs = rng.standard_normal((200, 40)) @ mix
    gram, weights = inputs.T @ inputs, rng.standard_normal((24, 40))
    alone, shared, refined = (
        quantization_range(gram, weights, bits=4, scale=0.3, method=method)
        for method in ("sdp", *METHODS)
    )
    assert (refined.lower >= shared.lower).all()
    loss = 10 * np.log10(alone.lower / shared.lower)
    assert loss.mean() < 1.5
    assert (10 * np.log10(alone.lower / refined.lower)).mean() < 0.3
    assert refined.proof[0].diagonal is not refined.proof[1].diagonal
    assert shared.proof[0].diagonal is shared.proof[1].diagonal


def test_what_has_no_bound_says_so():
    rng = np.random.default_rng(9)
    found = quantization_range(
        gram_of(rng, 6, 3), rng.standard_normal((2, 6)), bits=3, scale=0.3, method="sdp-shared"
    )
    assert (found.lower == 0).all() and SINGULAR in found.notes
    dead = quantization_range(
        np.zeros((2, 2)), np.ones((1, 2)), bits=3, scale=0.3, method=METHODS[0]
    )
    assert (dead.status == "exact").all()


def test_units_change_nothing():
    rng = np.random.default_rng(4)
    gram, weights = gram_of(rng, 7), rng.standard_normal((3, 7))
    first = quantization_range(gram, weights, bits=3, scale=0.4, method="sdp-shared")
    for unit in (2.0**40, 2.0**-300):
        other = quantization_range(gram * unit, weights, bits=3, scale=0.4, method="sdp-shared")
        np.testing.assert_array_equal(other.lower, first.lower * unit)
        np.testing.assert_allclose(other.proof[0].diagonal, first.proof[0].diagonal * unit)


def test_polished_places_have_no_better_neighbours():
    rng = np.random.default_rng(5)
    gram, weights = gram_of(rng, 6), rng.standard_normal((5, 6))
    table = np.sort(rng.uniform(-3, 3, 6))
    levels = Levels(table, np.full((5, 6), 0.7), np.zeros((5, 6)), False)

    def error(c, places):
        d = 0.7 * table[places] - weights[c]
        return d @ gram @ d

    start = levels.nearest(weights)
    found = polished(gram, weights, levels, start.copy())
    for c in range(5):
        best = error(c, found[c])
        assert best <= error(c, start[c]) + 1e-12
        for moves_ in itertools.product((-1, 0, 1), repeat=6):
            if np.count_nonzero(moves_) <= 2:
                there = found[c] + np.array(moves_)
                if there.min() >= 0 and there.max() < len(table):
                    assert error(c, there) >= best - 1e-9


@pytest.mark.parametrize("method", METHODS)
def test_grids_of_every_kind_in_rationals(method):
    rng = np.random.default_rng(12)
    for n in (2, 3, 5):
        gram = gram_of(rng, n)
        weights = rng.standard_normal((3, n))
        steps = rng.uniform(0.2, 0.8, (3, -(-n // 2)))
        for grid in (
            Grid.uniform(2, steps, rng.integers(-2, 2, steps.shape), group_size=2),
            Grid.codebook([-1.0, -0.3, 0.1, 0.9], steps, 2),
            Grid.ternary(0.7),
        ):
            found = quantization_range(gram, weights, grid=grid, method=method)
            step, zero = grid.steps(3, n), grid.zeros(3, n)
            for c, lower in enumerate(found.lower):
                choices = [
                    [Fraction(step[c, i]) * (Fraction(t) - Fraction(zero[c, i]))
                     for t in grid.levels.tolist()]
                    for i in range(n)
                ]  # fmt: skip
                assert Fraction(float(lower)) <= least_error(gram, weights[c], choices)
            assert (found.lower > 0).all()
            assert grid.fits(found.weights).all()
