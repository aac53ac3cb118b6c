"""The perspective dual that channels share: budgets and patterns, never above the optimum."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from bounds import pruning_range
from bounds.fuzz.rational import ExactForm
from bounds.layer.kept import Kept, project_kept
from bounds.layer.proven import proven_values
from bounds.layer.rule import HalfStep
from bounds.layer.shared import Layer, dual_values, moves, relaxed_values, share_diagonal

METHODS = ("perspective-shared", "perspective-refined")


def gram_of(rng, n, spread=0.0):
    inputs = rng.standard_normal((n + 2, n)) * np.exp(rng.uniform(-spread, spread, n))
    product = inputs.T @ inputs
    return np.tril(product) + np.tril(product, -1).T


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("n", [2, 4, 6])
def test_no_bound_is_above_the_optimum_in_rationals(method, n):
    rng = np.random.default_rng(n)
    for case in range(4):
        gram = gram_of(rng, n, case)
        weights = rng.standard_normal((3, n)) * np.exp(rng.normal(0, 1, (3, n)))
        forms = [ExactForm(gram, w) for w in weights]
        every: list[dict[str, Any]] = [{"keep": 1}, {"keep": n - 1}, {"pattern": (1, 2)}]
        for asked in every:
            found = pruning_range(gram, weights, method=method, **asked)
            for form, lower in zip(forms, found.lower, strict=True):
                most, size = asked.get("pattern", (asked.get("keep"), None))
                best = form.sparse_optimum(most, size)
                assert best is not None and Fraction(float(lower)) <= best
            assert (found.lower > 0).all() and found.constraint.fits(found.weights).all()


def test_any_multipliers_prove_no_more_than_is_true():
    rng = np.random.default_rng(3)
    for _ in range(60):
        n = int(rng.integers(2, 6))
        gram, weights = gram_of(rng, n), rng.standard_normal((2, n))
        keep = int(rng.integers(1, n))
        rule = Kept(np.array([0, n]), np.array([keep]))
        diagonal = np.linalg.eigvalsh(gram)[0] * rng.uniform(0, 1.2, n) * rng.integers(0, 2, n)
        move = rng.standard_normal((2, n)) * 10 ** rng.uniform(-3, 1)
        _, _, lower = proven_values(Layer(gram, weights, rule), diagonal, move)
        for w, value in zip(weights, lower, strict=True):
            best = ExactForm(gram, w).sparse_optimum(keep, None)
            assert best is not None and Fraction(float(value)) <= best


def test_the_half_step_is_a_minimum():
    """Against the two conditions of a minimum: shares add up, and no exchange of them helps."""
    rng = np.random.default_rng(5)
    for penalty in (0.3, 10.0):
        n, keep = 9, 3
        w, d, moved = rng.standard_normal((1, n)), rng.uniform(0.1, 3, n), rng.normal(size=(1, n))
        point, price = np.zeros((1, n)), np.zeros((1, n))
        start, capacity = np.array([0, n]), np.array([keep])
        project_kept(moved, w, d, start, capacity, penalty, 1.0, point, price)
        np.testing.assert_allclose(point + price, moved)

        def cost(x, s, w=w, d=d, moved=moved, penalty=penalty):
            safe = np.where(s > 0, s, 1)
            terms = np.where(s > 0, d * x * x / safe, np.where(x == 0, 0, np.inf))
            return (terms - 2 * d * w[0] * x + penalty * d * (x - moved[0]) ** 2).sum()

        rule = Kept(start, capacity)
        x = point[0]
        ratio = rule.spread(point, d)[0] / np.where(x != 0, x * x, 1) + 1
        share = np.where(x != 0, 1 / ratio, 0)
        assert share.sum() == pytest.approx(keep, rel=1e-6)
        best = cost(x, share)
        for _ in range(300):
            s = np.clip(share + 0.02 * rng.standard_normal(n), 1e-9, 1)
            s *= min(1, keep / s.sum())
            other = (w[0] + penalty * moved[0]) * s / (1 + penalty * s)
            assert cost(other, s) >= best - 1e-6 * abs(best)
    state = HalfStep(np.zeros((1, n)), np.zeros((1, n)), 1.0)
    rule.project(moved, w, d, 0.5 / penalty, state)
    np.testing.assert_array_equal(state.point, point)


def test_relaxation_and_dual_meet():
    rng = np.random.default_rng(2)
    gram, weights = gram_of(rng, 30), rng.standard_normal((20, 30))
    layer = Layer(gram, weights, Kept(np.array([0, 15, 30]), np.array([4, 6])))
    diagonal, penalty = share_diagonal(layer, float(np.linalg.eigvalsh(gram)[0]) * 0.9)
    move = moves(layer, diagonal, penalty)
    lower = dual_values(layer, diagonal, move)
    upper = relaxed_values(layer, diagonal, weights + move)
    assert (lower <= upper * (1 + 1e-6)).all() and lower.sum() >= 0.97 * upper.sum()


def test_refining_comes_near_the_bound_of_a_channel_alone():
    rng = np.random.default_rng(6)
    mix = np.eye(30) + 0.2 * rng.standard_normal((30, 30))
    inputs = rng.standard_normal((150, 30)) @ mix
    gram, weights = inputs.T @ inputs, rng.standard_normal((12, 30))
    alone, shared, refined = (
        pruning_range(gram, weights, keep=9, method=method) for method in ("perspective", *METHODS)
    )
    assert (refined.lower >= shared.lower).all()
    assert (10 * np.log10(alone.lower / refined.lower)).mean() < 0.4
    assert (10 * np.log10(alone.lower / shared.lower)).mean() < 2
