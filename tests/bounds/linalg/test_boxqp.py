"""The minimiser over the box satisfies the optimality conditions, however bad the conditioning."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import lsq_linear

from bounds.linalg.boxqp import box_minimiser


@pytest.mark.parametrize("condition", [1.0, 1e4, 1e8, 1e11])
@pytest.mark.parametrize("spread", [0.5, 3.0, 30.0])
def test_optimality_conditions(condition, spread):
    rng = np.random.default_rng(int(np.log10(condition)) * 10 + int(spread))
    for _ in range(20):
        n = int(rng.integers(2, 25))
        q, _ = np.linalg.qr(rng.standard_normal((n, n)))
        gram = (q / np.geomspace(1, condition, n)) @ q.T
        gram = (gram + gram.T) / 2
        target = rng.standard_normal(n) * spread
        z = box_minimiser(gram, target, -2.0, 1.0)
        gradient = gram @ (z - target)
        inward = np.where(z == -2, np.minimum(gradient, 0), np.maximum(gradient, 0))
        pull = np.where((z > -2) & (z < 1), gradient, inward)
        assert z.min() >= -2
        assert z.max() <= 1
        assert np.abs(pull).max() < 1e-11 * max(1.0, spread)


def test_against_scipy():
    rng = np.random.default_rng(5)
    for _ in range(10):
        rows = rng.standard_normal((30, 12))
        target = rng.standard_normal(12) * 4
        z = box_minimiser(rows.T @ rows, target, -2.0, 1.0)
        other = lsq_linear(rows, rows @ target, (-2, 1), tol=1e-14)
        assert np.allclose(z, other.x, atol=1e-6)
