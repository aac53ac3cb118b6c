"""Grams whose stored numbers are slightly indefinite, by rounding: what is claimed then is true."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest

from bounds import pruning_range, quantization_range
from bounds.fuzz.rational import ExactForm
from bounds.problem.gram import check_problem
from bounds.problem.range import ENERGY_FLOOR, TOLERANCE, Range
from bounds.problem.sparsity import paper_box


def curved(seed: int, n: int, depth: float) -> np.ndarray:
    """A correlation matrix of rank one less a little more than nothing."""
    rng = np.random.default_rng(seed)
    sides = rng.choice([-1.0, 1.0], n)
    gram = np.outer(sides, sides) * (1 + depth)
    np.fill_diagonal(gram, 1.0)
    return gram


def least_form(gram, weights, scale: float, lo: int, hi: int) -> Fraction:
    """The least ``(v-w)^T G (v-w)`` on the grid, negative or not, in rationals."""
    form = ExactForm(gram, weights)
    codes = itertools.product(range(lo, hi + 1), repeat=len(weights))
    return min(form.grid_error(np.array(z), scale) for z in codes)


def check(found: Range, c: int, least: Fraction) -> None:
    """The claims of channel ``c``, given the least value of the form over what is feasible."""
    lower, upper = Fraction(float(found.lower[c])), Fraction(float(found.upper[c]))
    assert lower <= max(least, 0) and upper >= least
    if lower > 0:
        assert lower <= least, "a positive bound is one on the form itself"
    if found.status[c] == "exact" and upper > 0:
        room = max(Fraction(TOLERANCE) * upper, Fraction(ENERGY_FLOOR * float(found.energy[c])))
        assert least >= upper - room


@pytest.mark.parametrize("depth", [0.0, 1e-16, 1e-14, 1e-12, 5e-11])
@pytest.mark.parametrize("seed", range(4))
def test_claims_on_the_grid_count_the_curvature(seed, depth):
    gram = curved(seed, 3, depth)
    weights = np.random.default_rng(seed).integers(-6, 7, (4, 3)) / 4
    weights[3] = np.random.default_rng(seed).standard_normal(3)
    for method in ("exact", "sdp"):
        found = quantization_range(gram, weights, bits=3, scale=0.5, method=method, time_limit=None)
        for c in range(4):
            check(found, c, least_form(gram, weights[c], 0.5, -4, 3))


def test_what_curvature_hides_is_not_called_exact():
    """The form falls to -2e-10 t^2 along (t, -t): no error near zero is the least."""
    gram = curved(1, 2, 1e-10)
    gram[0, 1] = gram[1, 0] = 1 + 1e-10
    found = quantization_range(gram, [[0.5, 0.5]], bits=4, scale=1.0, time_limit=None)
    assert least_form(gram, [0.5, 0.5], 1.0, -8, 7) < -1e-9
    assert found.upper[0] < 1e-14
    assert (found.lower[0], found.status[0]) == (0.0, "heuristic")
    assert any("negative curvature" in note for note in found.notes)
    assert any("hidden by what rounding" in note for note in found.notes)


def test_weights_that_lose_nothing_are_optimal_all_the_same():
    gram = curved(0, 3, 5e-11)
    found = quantization_range(gram, [[0.5, -1.0, 1.5]], bits=3, scale=0.5, time_limit=None)
    assert (found.upper[0], found.status[0]) == (0.0, "exact")


def test_a_box_does_not_hide_the_curvature():
    for seed in range(6):
        gram = curved(seed, 4, 5e-11)
        weights = np.random.default_rng(seed).standard_normal((2, 4))
        found = pruning_range(gram, weights, keep=2, box=2.0, time_limit=None)
        box = paper_box(weights, 2.0)
        edge = (box.low, box.high)
        for c, support in itertools.product(range(2), itertools.combinations(range(4), 2)):
            v = np.zeros(4)
            for corner in itertools.product(np.linspace(*edge, 9), repeat=2):
                v[list(support)] = corner
                value = ExactForm(gram, weights[c]).error(v)
                assert Fraction(float(found.lower[c])) <= max(value, 0)
                if found.status[c] == "exact":
                    slack = max(TOLERANCE * found.upper[c], ENERGY_FLOOR * found.energy[c])
                    assert Fraction(float(found.upper[c])) - Fraction(float(slack)) <= value


def test_rounding_of_the_eigenvalues_is_not_remarked():
    rows = np.random.default_rng(0).standard_normal((3, 8))
    assert check_problem(rows.T @ rows, np.ones(8)).notes == ()


def test_why_a_singular_gram_without_a_box_proves_nothing_is_said_in_words():
    rows = np.random.default_rng(0).standard_normal((3, 6))
    for method in ("perspective", "exact"):
        found = pruning_range(rows.T @ rows, np.arange(1.0, 7.0), keep=2, method=method)
        (note,) = found.notes
        assert "weights of any size cost next to nothing" in note
        assert "--box 2" in note and "box=2 in Python" in note
        assert found.lower[0] == 0 and found.status[0] == "heuristic"
