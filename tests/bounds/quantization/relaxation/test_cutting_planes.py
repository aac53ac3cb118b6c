"""The SDP bound against brute force and against a general conic solver."""

import itertools

import numpy as np
import pytest

from bounds.linalg.boxqp import box_minimiser
from bounds.problem.grid import integer_range
from bounds.quantization.relaxation.conic import solve_relaxation
from bounds.quantization.relaxation.cuts import Cuts, lagrangian_bound
from bounds.quantization.relaxation.cutting_planes import solve_dual

CONDITIONS = (1.0, 1e2, 1e4, 1e7, 1e10, np.inf)


def random_gram(rng, n, condition):
    """Unit mean diagonal; ``inf``: half the rank."""
    if condition == np.inf:
        rows = rng.standard_normal(((n + 1) // 2, n))
        gram = rows.T @ rows
    else:
        turn = np.linalg.qr(rng.standard_normal((n, n)))[0]
        gram = (turn * np.geomspace(1, 1 / condition, n)) @ turn.T
        gram = (gram + gram.T) / 2
    return np.ascontiguousarray(gram * n / np.trace(gram))


def random_problem(rng, n, condition, bits, far=0.0):
    """Gram, target, box minimiser and box; targets up to ``far`` box widths outside."""
    lo, hi = (float(end) for end in integer_range(bits))
    gram = random_gram(rng, n, condition)
    target = rng.uniform(lo - far * (hi - lo), hi + far * (hi - lo), n)
    start = box_minimiser(gram, target, lo, hi)
    return gram, target, start, np.full(n, lo), np.full(n, hi)


def cuts_of(answer):
    first, second, pair, low, high, sign = answer.cuts
    low, high = np.rint(low).astype(np.int64), np.rint(high).astype(np.int64)
    return Cuts(first, second, pair, low, high, sign, answer.multiplier)


def solve_certified(gram, target, start, lo, hi, rounds=0, pairs=0):
    answer = solve_dual(gram, target, start, lo, hi, 12 * len(target), rounds, pairs)
    cuts = cuts_of(answer)
    return answer, cuts, lagrangian_bound(gram, target, 1.0, cuts, answer.point)


def brute_force(gram, target, lo, hi):
    levels = [np.arange(a, b + 1) for a, b in zip(lo, hi, strict=True)]
    codes = np.array(list(itertools.product(*levels))) - target
    return np.einsum("ci,ij,cj->c", codes, gram, codes).min()


@pytest.mark.parametrize("condition", CONDITIONS)
@pytest.mark.parametrize(("bits", "n"), [(1, 6), (1, 1), (2, 5), (3, 3), (4, 2), (8, 1)])
def test_bound_is_below_the_optimum(condition, bits, n):
    rng = np.random.default_rng([bits, n])
    for far, rounds, pairs in ((0.0, 0, 0), (0.0, 3, 4), (0.3, 2, 0), (3.0, 2, 2)):
        problem = random_problem(rng, n, condition, bits, far)
        answer, cuts, certified = solve_certified(*problem, rounds, pairs)
        gram, target, _, lo, hi = problem
        optimum = brute_force(gram, target, lo, hi)
        assert answer.value <= optimum * (1 + 1e-9) + 1e-12
        assert certified <= optimum
        assert (cuts.multiplier >= 0).all()
        assert np.isfinite(answer.covariance).all()


def test_every_cut_holds_for_every_code():
    rng = np.random.default_rng(3)
    found_pairs = 0
    for bits, n in ((1, 6), (2, 4), (3, 3)):
        for condition in (10.0, 1e4):
            problem = random_problem(rng, n, condition, bits)
            _, cuts, _ = solve_certified(*problem, 3, 6)
            lo, hi = integer_range(bits)
            codes = np.array(list(itertools.product(range(lo, hi + 1), repeat=n)))
            y = codes @ cuts.directions(n).T
            assert (cuts.sign * (y - cuts.low) * (y - cuts.high) >= 0).all()
            found_pairs += (cuts.second >= 0).sum()
    assert found_pairs > 0


@pytest.mark.parametrize("condition", (1.0, 1e2, 1e4, 1e6))
@pytest.mark.parametrize("bits", (1, 2, 4, 8))
def test_agrees_with_clarabel(condition, bits):
    pytest.importorskip("clarabel")
    rng = np.random.default_rng([7, bits])
    for n, far in ((8, 0.0), (12, 0.2)):
        gram, target, start, lo, hi = random_problem(rng, n, condition, bits, far)
        floors = np.clip(np.floor(start), lo, hi - 1)
        reference = solve_relaxation(
            gram, target - floors, np.zeros(n), lo - floors, hi - floors, solver="CLARABEL"
        )
        answer, _, certified = solve_certified(
            gram, target - floors, start - floors, lo - floors, hi - floors
        )
        assert 10 * np.log10(certified / reference.value) > -0.01
        assert answer.value == pytest.approx(certified, rel=1e-6)
        assert answer.value <= reference.value * (1 + 1e-3)


@pytest.mark.parametrize("condition", CONDITIONS)
def test_multipliers_are_comfortably_verifiable(condition):
    """The certified bound keeps all of the computed one, whatever the condition."""
    rng = np.random.default_rng(11)
    for n, bits in ((1, 4), (20, 2), (36, 4), (36, 8)):
        answer, _, certified = solve_certified(*random_problem(rng, n, condition, bits))
        assert certified >= max(answer.value, 0.0) * (1 - 1e-6)
        if np.isfinite(condition):
            assert certified > 0


def test_more_cuts_raise_the_bound():
    rng = np.random.default_rng(5)
    gains = []
    for bits in (2, 3, 4):
        problem = random_problem(rng, 20, 1e2, bits)
        bounds = [solve_certified(*problem, r, p)[2] for r, p in ((0, 0), (3, 0), (3, 20))]
        assert bounds[1] >= bounds[0] * (1 - 1e-4)
        assert bounds[2] > bounds[1]
        gains.append(bounds[2] / bounds[0])
    assert max(gains) > 1.02


@pytest.mark.parametrize("factor", (2.0**-12, 2.0**12))
def test_scales_with_the_gram(factor):
    gram, target, start, lo, hi = random_problem(np.random.default_rng(1), 12, 1e3, 4)
    one = solve_dual(gram, target, start, lo, hi, 100, 1).value
    other = solve_dual(gram * factor, target, start, lo, hi, 100, 1).value
    assert other == pytest.approx(one * factor, rel=2e-5)


def test_shifted_codes_give_the_same_bound():
    gram, target, start, lo, hi = random_problem(np.random.default_rng(2), 12, 1e3, 4)
    one = solve_dual(gram, target, start, lo, hi, 100, 1)
    other = solve_dual(gram, target + 5, start + 5, lo + 5, hi + 5, 100, 1)
    assert other.value == pytest.approx(one.value, rel=2e-5)
    np.testing.assert_allclose(other.point, one.point + 5, atol=0.02)


def test_targets_on_the_grid_have_bound_zero():
    gram = random_gram(np.random.default_rng(4), 8, 1e2)
    for target in (np.zeros(8), np.array([1.0, -2, 0, 1, 0, 0, -1, 1])):
        answer = solve_dual(gram, target, target, np.full(8, -2.0), np.full(8, 1.0), 50, 2)
        assert abs(answer.value) < 1e-12
        assert np.isfinite(answer.covariance).all()


def test_dead_inputs_are_harmless():
    gram = random_gram(np.random.default_rng(6), 8, 1e2)
    gram[3] = gram[:, 3] = 0.0
    keep = np.arange(8) != 3
    target = np.random.default_rng(7).uniform(-2, 1, 8)
    lo, hi = np.full(8, -2.0), np.full(8, 1.0)
    start = box_minimiser(gram[np.ix_(keep, keep)].copy(), target[keep].copy(), -2.0, 1.0)
    alone = solve_dual(
        np.ascontiguousarray(gram[np.ix_(keep, keep)]), target[keep], start, lo[1:], hi[1:], 50, 0
    )
    both = solve_dual(gram, target, np.insert(start, 3, -0.5), lo, hi, 50, 0)
    assert both.value == pytest.approx(alone.value, rel=1e-3)


def test_boxes_of_different_widths():
    rng = np.random.default_rng(8)
    for _ in range(10):
        gram = random_gram(rng, 5, 1e2)
        target = rng.uniform(-3, 3, 5)
        lo = np.array([-4.0, 0, -1, -2, 1])
        hi = np.array([3.0, 1, 2, -1, 3])
        start = np.clip(target, lo, hi)
        answer, _, certified = solve_certified(gram, target, start, lo, hi, 2, 3)
        optimum = brute_force(gram, target, lo, hi)
        assert 0 < certified <= optimum
        assert answer.value <= optimum * (1 + 1e-9)


def test_mean_and_covariance_are_the_primal_solution():
    """Feasible for every cut, and of the dual's value (strong duality)."""
    gram, target, start, lo, hi = random_problem(np.random.default_rng(9), 16, 1e2, 3)
    for shift in (0, 1):
        answer = solve_dual(gram, target + shift, start + shift, lo + shift, hi + shift, 100, 0)
        cuts = cuts_of(answer)
        mean, covariance = answer.mean, answer.covariance
        assert np.linalg.eigvalsh(covariance)[0] > -1e-9
        error = mean - target - shift
        objective = error @ gram @ error + np.sum(gram * covariance)
        assert objective == pytest.approx(answer.value, rel=1e-4)
        assert objective - answer.value < 2 * answer.gap < 1e-4 * objective
        rows = cuts.directions(16)
        spread = np.einsum("ij,jk,ik->i", rows, covariance, rows)
        y = rows @ mean
        assert (cuts.sign * ((y - cuts.low) * (y - cuts.high) + spread) > -1e-6).all()
