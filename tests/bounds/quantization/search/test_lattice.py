"""Searches in a reduced basis: the optimum, below it in exact rationals, cut short and resumed."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from bounds import quantization_range
from bounds.problem.gram import check_problem
from bounds.problem.grid import Grid
from bounds.quantization.codes import CodeProblem, make_codes
from bounds.quantization.heuristics import attained
from bounds.quantization.search import deepening, exact, lattice
from bounds.quantization.search.lattice import Lattice, Reduction, make_lattice
from bounds.quantization.search.reduced_basis import reduced_basis
from tests.bounds.quantization.relaxation.test_pairs import exact_optimum
from tests.bounds.quantization.search.test_reduced_basis import stiff
from tests.references.quantization_instances import Instance


def hostile(n: int, bits: int, seed: int) -> Instance:
    """Stiff, singular, tied, clipped, on the grid, and in odd units."""
    rng = np.random.default_rng([seed, n, bits])
    kind = seed % 6
    gram = stiff(n, 10.0 ** rng.uniform(0, 12), seed)
    weights = rng.standard_normal((1, n)) * rng.choice([0.3, 1.0, 6.0])
    scale = 2.0 / 2 ** (bits - 1) * float(rng.uniform(0.3, 1.5))
    if kind == 1:
        rows = rng.integers(-3, 4, (max(1, n - 1), n)).astype(float)
        gram = rows.T @ rows + np.diag(rng.integers(0, 2, n) * 1e-9)
        gram += np.diag(np.where(np.diag(gram) == 0, 1.0, 0.0))
    elif kind == 2:
        weights = np.rint(weights / scale) * scale * (1 + 1e-9)
    elif kind == 3:
        weights = (np.rint(weights / scale) + 0.5) * scale
    elif kind == 4:
        weights[0, 0] *= 1e6
    elif kind == 5:
        unit = 2.0 ** rng.integers(-20, 20)
        gram, weights, scale = gram * unit**2, weights * 3e4 / unit, scale * 3e4 / unit
    return Instance(np.asarray(gram, np.float64), weights, bits, scale)


def codes_of(problem: Instance) -> CodeProblem:
    checked = check_problem(problem.gram, problem.weights)
    return make_codes(checked, Grid.uniform(problem.bits, problem.scale))


def lattice_of(codes: CodeProblem) -> Lattice | None:
    return make_lattice(codes, Reduction(codes.gram, reduced_basis(codes.gram), np.inf))


@pytest.mark.parametrize("seed", range(36))
def test_below_the_optimum_in_exact_rationals(seed):
    n, bits = [(2, 4), (3, 3), (4, 2), (6, 1), (1, 8)][seed % 5]
    problem = hostile(n, bits, seed)
    codes = codes_of(problem)
    one = lattice_of(codes)
    assert one is not None
    optimum = exact_optimum(problem, 0)
    start = attained.nearest(codes)[0]
    walk = one.walk(one.radius(start))
    while not walk.finished:
        one.walk_on(walk, 7)
    best = start if np.isnan(walk.best[0]) else walk.best
    upper = float(codes.errors(best[None])[0])
    lower = one.proves(walk.cost, upper)
    assert Fraction(lower) <= optimum <= Fraction(upper)
    energy = float(check_problem(problem.gram, problem.weights).energy[0])
    assert upper - float(optimum) <= 1e-9 * upper + 1e-11 * energy
    if seed % 6 != 1:  # a shifted factor loses what the shift may hide
        assert float(optimum) - max(lower, 0.0) <= 1e-7 * (upper + energy)


@pytest.fixture
def everywhere(monkeypatch):
    """Every channel is hard, and every basis worthwhile."""
    monkeypatch.setattr(exact, "STIFF_NODES", 1)
    monkeypatch.setattr(exact, "EASY_NODES", 1)
    monkeypatch.setattr(lattice, "WORTHWHILE_GAIN", -1.0)


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 8])
def test_both_searches_end_at_the_same_optimum(bits, monkeypatch):
    gram, rng = stiff(12, 1e5, bits), np.random.default_rng(bits)
    weights = rng.standard_normal((6, 12)) * 1.5
    scale = 2.5 / 2 ** (bits - 1)
    monkeypatch.setattr(lattice, "WORTHWHILE_GAIN", np.inf)
    plain = quantization_range(gram, weights, bits=bits, scale=scale)
    monkeypatch.setattr(exact, "STIFF_NODES", 1)
    monkeypatch.setattr(lattice, "WORTHWHILE_GAIN", 0.0)
    reduced = quantization_range(gram, weights, bits=bits, scale=scale)
    assert (plain.status == "exact").all()
    assert (reduced.status == "exact").all()
    assert np.allclose(plain.upper, reduced.upper, rtol=1e-9)
    assert np.allclose(plain.lower, reduced.lower, rtol=1e-8)


def test_first_convolutions_are_closed_in_few_nodes():
    """27 inputs, condition 1e6, some weights clipped: over 1e7 nodes without a reduced basis."""
    gram, rng = stiff(27, 1e6, 5), np.random.default_rng(5)
    weights = rng.standard_normal((4, 27))
    for bits in (3, 4, 8):
        found = quantization_range(
            gram,
            weights,
            bits=bits,
            scale=2.0 / 2 ** (bits - 1),
            node_limit=600_000,
            tolerance=1e-8,  # entries of this basis are large: forming T costs digits
        )
        assert (found.status == "exact").all()


@pytest.mark.parametrize("nodes", [1, 3, 30, 300])
def test_cut_short_nothing_false_is_claimed(nodes, everywhere):
    for seed in range(6):
        problem = hostile(4, 3, seed)
        optimum = exact_optimum(problem, 0)
        found = quantization_range(
            problem.gram, problem.weights, bits=3, scale=problem.scale, node_limit=nodes
        )
        assert Fraction(float(found.lower[0])) <= optimum <= Fraction(float(found.upper[0]))
        assert found.nodes[0] <= nodes


def test_estimates_too_low_are_not_trusted_for_ever(everywhere, monkeypatch):
    """A tree said to have no nodes is given up, and the other search finishes."""
    monkeypatch.setattr(lattice.Lattice, "nodes", lambda *_: 0.0)
    monkeypatch.setattr(deepening, "TRIAL_NODES", 2)
    monkeypatch.setattr(deepening, "QUICK_NODES", 1.0)
    monkeypatch.setattr(deepening, "SLICE_NODES", 3)
    problem = hostile(5, 3, 0)
    found = quantization_range(problem.gram, problem.weights, bits=3, scale=problem.scale)
    assert found.status[0] == "exact"


def test_inputs_equal_but_for_their_last_digits_are_searched_as_they_are():
    """Their inverse in the reduced basis loses a pivot to rounding."""
    rng = np.random.default_rng([7, 1])
    inputs, weights = rng.normal(size=(21, 7)), rng.normal(size=(1, 7))
    rows = np.concatenate([inputs[:, :1]] * 7, axis=1) + 1e-9 * inputs
    gram = (rows.T @ rows + (rows.T @ rows).T) / 2
    found = quantization_range(gram, weights, bits=3, scale=0.4, node_limit=5000, time_limit=None)
    assert found.lower[0] <= found.upper[0]
