"""The volume bound against optima of displaced weights, and its factor against exact rationals."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest

from bounds.layer.volume import volume_bound
from bounds.linalg.verified import inverse_form_upper, verified_factor


def determinant_and_inverse(matrix):
    n = len(matrix)
    rows = [[Fraction(float(x)) for x in r] + [Fraction(int(i == k)) for k in range(n)]
            for i, r in enumerate(matrix)]  # fmt: skip
    product = Fraction(1)
    for k in range(n):
        pivot = rows[k][k]
        product *= pivot
        rows[k] = [x / pivot for x in rows[k]]
        for i in range(n):
            if i != k:
                rows[i] = [a - rows[i][k] * b for a, b in zip(rows[i], rows[k], strict=True)]
    return product, [r[n:] for r in rows]


@pytest.mark.parametrize("spread", [0.0, 3.0, 5.5])
@pytest.mark.parametrize("columns", [0.0, 30.0])
def test_factor_against_rationals(spread, columns):
    rng = np.random.default_rng([int(spread), int(columns)])
    for n in (1, 2, 5, 8):
        rows = rng.standard_normal((n + 2, n)) @ (
            np.geomspace(1, 10.0**-spread, n)[:, None] * np.linalg.qr(rng.normal(size=(n, n)))[0]
        )
        rows = rows * np.exp(rng.uniform(-columns, columns, n))
        gram = np.tril(product := rows.T @ rows) + np.tril(product, -1).T
        factor = verified_factor(gram)
        assert factor is not None
        det, inverse = determinant_and_inverse(gram)
        true = np.log(np.longdouble(det.numerator)) - np.log(np.longdouble(det.denominator))
        assert factor.logdet_lower() <= float(true) + 1e-13 * abs(float(true))
        assert factor.logdet_lower() >= float(true) - 1e-2
        y = rng.standard_normal((3, n)) * np.sqrt(np.diag(gram))
        for row, upper in zip(y, inverse_form_upper(factor, y), strict=True):
            exact = sum(
                (Fraction(float(a)) * inverse[i][j] * Fraction(float(b))
                 for i, a in enumerate(row) for j, b in enumerate(row)),
                Fraction(0),
            )  # fmt: skip
            assert exact <= Fraction(float(upper)) <= exact * Fraction(101, 100)


def test_singular_and_indefinite_matrices_are_not_verified():
    assert verified_factor(np.ones((2, 2))) is None
    assert verified_factor(np.array([[1.0, 2.0], [2.0, 1.0]])) is None


def test_displaced_weights_fail_no_more_often_than_said():
    rng = np.random.default_rng(5)
    for n in (1, 2, 3):
        rows = rng.standard_normal((n + 2, n))
        gram = np.tril(product := rows.T @ rows) + np.tril(product, -1).T
        near = np.array(list(itertools.product(range(-6, 7), repeat=n)))
        u = rng.uniform(-0.5, 0.5, (3000, n))
        best = np.full(len(u), np.inf)
        for z in near:
            best = np.minimum(best, (((z - u) @ gram) * (z - u)).sum(axis=1))
        for failure in (0.5, 0.9):
            bound = volume_bound(gram, np.zeros((1, n)), scale=1.0, failure=failure)
            assert (best < bound.lower).mean() <= failure
            assert bound.lower > 0


def test_integer_lattice_tends_to_its_known_limit():
    """Of Z^n, 1/12 a weight is attained; the sphere bound is ``pi e / 6``, 1.53 dB, below."""
    bound = volume_bound(np.eye(200), np.ones((50, 200)), scale=1.0, failure=0.5)
    assert 10 * np.log10(10_000 / 12 / bound.lower) == pytest.approx(1.53, abs=0.01)


def test_steps_and_units():
    rng = np.random.default_rng(1)
    rows = rng.standard_normal((12, 6))
    gram = rows.T @ rows
    gram = np.tril(gram) + np.tril(gram, -1).T
    w = rng.standard_normal((4, 6))
    first = volume_bound(gram, w, scale=0.25).lower
    assert volume_bound(gram * 4.0**20, w, scale=0.25).lower == pytest.approx(first * 4.0**20)
    assert volume_bound(gram, w, scale=np.full(4, 0.5)).lower == pytest.approx(4 * first)
    assert volume_bound(np.ones((2, 2)), np.ones((1, 2)), scale=0.1).lower == 0.0
