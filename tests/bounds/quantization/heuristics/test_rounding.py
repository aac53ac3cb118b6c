"""Rounding that once broke a bound or a run, each case the smallest that showed it."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest

from bounds import quantization_range
from bounds.errors import ProblemError
from bounds.fuzz.instances import make_instance
from bounds.fuzz.rational import ExactForm
from bounds.problem.gram import check_problem
from bounds.problem.grid import Grid, integer_range
from bounds.problem.limits import Limits
from bounds.quantization.codes import make_codes
from bounds.quantization.relaxation.cuts import lagrangian_bound, single_cuts
from bounds.quantization.search.exact import search


@pytest.mark.parametrize("bits", [3, 8, 12, 16])
@pytest.mark.parametrize("outward", [0, 1, 2])
def test_weights_a_last_digit_beyond_the_ends_of_the_grid(bits, outward):
    """There ``z - w/s`` is all rounding of the division, and ``s z - w`` of the product."""
    rng = np.random.default_rng([bits, outward])
    lo, hi = integer_range(bits)
    for _ in range(100):
        n = int(rng.integers(1, 4))
        rows = rng.standard_normal((n + 2, n))
        gram = np.tril(product := rows.T @ rows) + np.tril(product, -1).T
        scale = float(10 ** rng.uniform(-3, 0))
        codes = rng.choice([lo, hi], n).astype(float)
        weights = codes * scale
        for _ in range(outward):
            weights = np.nextafter(weights, np.sign(codes) * np.inf)
        problem = make_codes(check_problem(gram, weights), Grid.uniform(bits, scale))
        found = search(problem, codes[None], Limits())
        true = ExactForm(gram, weights).grid_error(codes, scale)
        assert Fraction(float(found.lower[0])) <= true
        assert Fraction(float(problem.errors(codes[None])[0])) >= true


@pytest.mark.parametrize("curvature", [1e-14, 1e-12, 1e-11, 1e-10])
@pytest.mark.parametrize("method", ["descent", "beam", "sdp", "exact"])
def test_every_gram_that_is_accepted_is_solved(curvature, method):
    """Streaming may leave a singular Gram slightly indefinite; ``check_problem`` admits that."""
    gram = np.array([[1, 1 + curvature], [1 + curvature, 1]])
    found = quantization_range(
        gram, [[0.3, -0.7]], bits=3, scale=0.5, method=method, time_limit=None
    )
    assert np.isfinite(found.upper).all()
    assert (found.lower <= found.upper).all()


def test_multipliers_that_overshoot_the_diagonal_prove_nothing():
    """A conic solver may return such; the balancing once took their logarithm."""
    cuts = single_cuts(np.array([0, 0]), np.array([1, 1]), 1.0, np.array([5.0, 0.1]))
    assert lagrangian_bound(np.eye(2), np.array([0.4, 0.4]), 1.0, cuts, np.zeros(2)) == 0.0


def test_what_doubles_cannot_hold_is_named():
    with pytest.raises(ProblemError, match="times the scale"):
        quantization_range(np.eye(2), [[1.0, 2.0]], bits=3, scale=1e-200, time_limit=None)
    with pytest.raises(ProblemError, match="rescale the inputs"):
        quantization_range(
            np.diag([1e200, 1e-200]), [[1.0, 2.0]], bits=3, scale=0.5, time_limit=None
        )


@pytest.mark.parametrize("factor", [1e-300, 1e-200, 1e150])
def test_tiny_and_huge_weights_do_not_overflow_the_proof(factor):
    gram = np.array([[2.0, 0.5], [0.5, 1.0]])
    found = quantization_range(
        gram, np.array([[0.3, 7.1]]) * factor, bits=3, scale=factor, time_limit=None
    )
    assert (found.lower <= found.upper).all()


@pytest.mark.parametrize("kind", ["spread/null", "spread/normal", "diagonal/null"])
def test_multipliers_that_run_away_are_not_used(kind):
    """On one-bit codes of inputs 1e15 apart they once reached 1e304, and overflowed."""
    index = {"spread/null": 473, "spread/normal": 682, "diagonal/null": 12773}[kind]
    case = make_instance("quantization", 2, index)
    assert case.kind.startswith(kind)  # the grid that may be named after it is not asked for
    found = quantization_range(
        case.gram, case.weights, bits=case.bits, scale=case.scale, method="sdp"
    )
    assert np.isfinite(found.lower).all()
    assert not found.notes  # nothing had to be discarded
    for c in range(len(case.weights)):
        form = ExactForm(case.gram, case.weights[c])
        true = min(
            form.grid_error(z, float(case.scale[c]))
            for z in itertools.product(range(case.box[0], case.box[1] + 1), repeat=len(case.gram))
        )
        assert Fraction(float(found.lower[c])) <= true


def test_infinite_multipliers_prove_nothing_and_say_nothing():
    weights = np.array([0.4, -0.3])
    for worst in (np.inf, np.nan, 1e308):
        cuts = single_cuts(np.array([-2, -2]), np.array([1, 1]), -1.0, np.array([worst, 1.0]))
        assert lagrangian_bound(np.eye(2) * 1e300, weights, 1.0, cuts, weights) == 0.0


def test_a_solver_gone_astray_leaves_the_bound_of_its_finite_multipliers(monkeypatch):
    from bounds.quantization.relaxation import bound as relaxation

    gram, weights = np.array([[2.0, 0.5], [0.5, 1.0]]), np.array([[0.3, -0.7]])
    codes = make_codes(check_problem(gram, weights), Grid.uniform(3, 0.5))
    honest = relaxation.solve_channel(codes, 0)
    solve = relaxation.solve_dual

    def astray(*arguments):
        answer = solve(*arguments)
        answer.multiplier[-1] = 1e308
        return answer

    big = make_codes(check_problem(gram * 2.0**40, weights), Grid.uniform(3, 0.5))
    monkeypatch.setattr(relaxation, "solve_dual", astray)
    found = relaxation.solve_channel(big, 0)
    assert np.isfinite(found.cuts.multiplier).all()
    assert 0 <= found.lower <= honest.lower * 2.0**40 * (1 + 1e-4)
