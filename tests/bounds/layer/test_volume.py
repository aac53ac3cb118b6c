"""The volume bound against optima of displaced weights, and its factor against exact rationals."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest

from bounds import Grid, choose_scale, quantization_range
from bounds.errors import ProblemError
from bounds.layer.boxed import boxed_terms, choose_base
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


def gram_of(rng, n, rows):
    inputs = rng.standard_normal((rows, n))
    product = inputs.T @ inputs
    return np.tril(product) + np.tril(product, -1).T


@pytest.mark.parametrize("rows", [1, 3, 9])
def test_terms_of_the_box_against_rationals(rows):
    """logdet (G + rho) and sum rho h^2 - V of whatever multipliers are found."""
    rng = np.random.default_rng(rows)
    for n in (1, 2, 4):
        gram = gram_of(rng, n, rows)
        centre, half = rng.normal(0, 1, (3, n)), rng.uniform(0.2, 1.5, (3, n))
        base = choose_base(gram, centre, half, 0.0)
        assert base is not None
        assert (rows >= n) == (not base.shared.any())
        terms = boxed_terms(base, centre, half, base.t, None)
        assert (terms.multipliers >= 0).all() and terms.multipliers.any()
        for c in range(3):
            rho = [Fraction(float(x)) for x in terms.multipliers[c]]
            matrix = [[Fraction(float(x)) for x in row] for row in gram]
            for i in range(n):
                matrix[i][i] += rho[i]
            det, inverse = exact_determinant(matrix)
            true = float(
                np.log(np.longdouble(det.numerator)) - np.log(np.longdouble(det.denominator))
            )
            assert true - 1e-6 * (1 + abs(true)) <= terms.logdets[c] <= true + 1e-13 * abs(true)
            m, h = ([Fraction(float(x)) for x in part[c]] for part in (centre, half))
            p = [a * b for a, b in zip(rho, m, strict=True)]
            price = sum(
                (r * (b * b - a * a) for r, a, b in zip(rho, m, h, strict=True)), Fraction(0)
            ) + sum((p[i] * inverse[i][j] * p[j] for i in range(n) for j in range(n)), Fraction(0))
            size = sum(
                (r * (a * a + b * b) for r, a, b in zip(rho, m, h, strict=True)), Fraction(0)
            )
            assert price <= Fraction(float(terms.prices[c])) <= price + size / 10**9


def exact_determinant(matrix):
    n = len(matrix)
    rows = [[*r, *(Fraction(int(i == k)) for k in range(n))] for i, r in enumerate(matrix)]
    product = Fraction(1)
    for k in range(n):
        product *= rows[k][k]
        rows[k] = [x / rows[k][k] for x in rows[k]]
        for i in range(n):
            if i != k:
                rows[i] = [a - rows[i][k] * b for a, b in zip(rows[i], rows[k], strict=True)]
    return product, [r[n:] for r in rows]


@pytest.mark.parametrize(("n", "rows"), [(1, 4), (2, 4), (3, 6), (3, 2), (4, 2)])
@pytest.mark.parametrize("spread", [0.5, 2.0])
def test_with_ends_displaced_weights_fail_no_more_often_than_said(n, rows, spread):
    """Also clipped weights, and Grams of fewer rows than inputs."""
    rng = np.random.default_rng([n, rows, int(spread)])
    gram = gram_of(rng, n, rows)
    weights = rng.normal(0, spread, (1, n))
    codes = np.array(list(itertools.product(range(-2, 2), repeat=n)))
    u = rng.uniform(-0.5, 0.5, (4000, n))
    target = weights + 0.8 * u
    best = np.full(len(u), np.inf)
    for z in codes:
        e = 0.8 * z - target
        best = np.minimum(best, ((e @ gram) * e).sum(axis=1))
    for failure in (0.5, 0.9):
        bound = volume_bound(gram, weights, scale=0.8, bits=2, failure=failure)
        assert (best < bound.lower).mean() <= failure
        free = volume_bound(gram, weights, scale=0.8, failure=failure)
        assert bound.lower >= free.lower


def test_exact_optima_of_many_channels():
    """Each draw displaces all channels; their optima are searched."""
    rng = np.random.default_rng(21)
    gram, weights = gram_of(rng, 8, 12), rng.standard_normal((4, 8))
    steps = np.array([0.5, 0.6, 0.7, 0.8])
    draws = 500
    u = rng.uniform(-0.5, 0.5, (draws, 4, 8))
    displaced = (weights + steps[:, None] * u).reshape(-1, 8)
    found = quantization_range(gram, displaced, bits=2, scale=np.tile(steps, draws))
    assert (found.status == "exact").all()
    sums = found.upper.reshape(draws, 4).sum(axis=1)
    bound = volume_bound(gram, weights, scale=steps, bits=2, failure=0.7)
    assert bound.boxed and (sums < bound.lower).mean() <= 0.7
    assert bound.lower > sums.mean() / 4


def test_groups_zero_points_and_what_does_not_tile():
    rng = np.random.default_rng(4)
    gram, weights = gram_of(rng, 4, 8), rng.standard_normal((3, 4))
    plain = volume_bound(gram, weights, scale=0.4, bits=3)
    steps = np.full((3, 2), 0.4)
    same = volume_bound(gram, weights, grid=Grid.uniform(3, steps, group_size=2))
    assert same.lower == pytest.approx(plain.lower, rel=1e-12)
    # a zero point moves the box as weights moved the other way do
    moved = volume_bound(gram, weights, grid=Grid.uniform(3, steps, 1.0, group_size=2))
    there = volume_bound(gram, weights + 0.4, scale=0.4, bits=3)
    assert moved.lower == pytest.approx(there.lower, rel=1e-9)
    with pytest.raises(ProblemError, match="tile"):
        volume_bound(gram, weights, grid=Grid.nf4(0.4, 4))
    with pytest.raises(ProblemError, match="either"):
        volume_bound(gram, weights)


def test_ends_matter_where_there_are_few_and_not_where_there_are_many():
    rng = np.random.default_rng(7)
    gram, weights = gram_of(rng, 24, 40), rng.standard_normal((12, 24))
    gains = []
    for bits, step in ((2, 0.9), (8, 0.02)):
        free = volume_bound(gram, weights, scale=step).snr_bound
        gains.append(free - volume_bound(gram, weights, scale=step, bits=bits).snr_bound)
    assert gains[0] > 0.5 and 0 <= gains[1] < 0.05


def test_a_rule_chooses_the_step():
    rng = np.random.default_rng(8)
    x, w = rng.normal(size=(60, 10)), rng.normal(size=(5, 10))
    named = volume_bound(x.T @ x, w, scale="mse", bits=3)
    assert named.lower == volume_bound(x.T @ x, w, scale=choose_scale(w, 3), bits=3).lower > 0
    with pytest.raises(ProblemError, match="give bits"):
        volume_bound(x.T @ x, w, scale="mse")
