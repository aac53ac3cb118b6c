"""Every method on every kind of grid: against brute force, and against itself on one step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bounds import quantization_range
from bounds.problem.gram import check_problem
from bounds.problem.grid import Grid
from bounds.problem.limits import Limits
from bounds.problem.methods import QUANTIZATION, methods
from bounds.quantization import attempts
from bounds.quantization.codes import make_codes
from bounds.quantization.heuristics import attained
from bounds.quantization.levels import make_levels
from bounds.quantization.relaxation.bound import solve_channel
from bounds.quantization.search.exact import search
from tests.references.grid_instances import GRAMS, GRIDS, Case, brute_force, case


def solve(problem: Case, method: str = "exact", **more: Any):
    options: dict[str, Any] = {"time_limit": None} | more
    return quantization_range(
        problem.gram, problem.weights, grid=problem.grid, method=method, **options
    )


@pytest.mark.parametrize("gram", GRAMS)
@pytest.mark.parametrize("grid", GRIDS)
def test_exact_is_the_brute_force_optimum(gram, grid):
    for n, seed in ((1, 0), (2, 1), (3, 2), (4, 3), (5, 4)):
        problem = case(gram, grid, n, seed)
        optimum = brute_force(problem)
        found = solve(problem)
        rounding = 1e-15 * found.energy
        assert (found.lower <= optimum + rounding).all()
        assert (found.upper >= optimum - rounding).all()
        assert (found.upper <= optimum * (1 + 1e-9) + 1e-12 * found.energy).all()
        assert problem.grid.fits(found.weights).all()
        if gram in ("random", "clipped", "dead"):
            assert (found.status == "exact").all()
        limited = solve(problem, node_limit=3)
        assert (limited.lower <= optimum + rounding).all()


@pytest.mark.parametrize("method", methods(QUANTIZATION))
@pytest.mark.parametrize("grid", GRIDS)
def test_every_method_brackets_the_optimum(method, grid):
    for gram in ("random",) if method == "sdp-scs" else GRAMS:
        problem = case(gram, grid, 4, 11)
        optimum = brute_force(problem)
        found = solve(problem, method)
        assert (found.lower <= optimum + 1e-15 * found.energy).all()
        assert (found.upper >= optimum - 1e-15 * found.energy).all()
        assert problem.grid.fits(found.weights).all()


def one_step(seed: int, n: int = 9, channels: int = 4):
    rng = np.random.default_rng(seed)
    inputs = rng.standard_normal((3 * n, n)) @ rng.standard_normal((n, n))
    problem = check_problem(inputs.T @ inputs, rng.standard_normal((channels, n)))
    grid = Grid.uniform(3, rng.uniform(0.2, 0.6, channels), rng.integers(-4, 4, channels))
    return make_codes(problem, grid), make_levels(problem, grid)


@pytest.mark.parametrize("seed", range(4))
def test_codes_and_levels_agree_on_one_step(seed):
    """Integers of one step a channel can be taken either way."""
    codes, levels = one_step(seed)
    for method in (attained.nearest, attained.gptq_codes):
        assert np.array_equal(method(codes), method(levels) + codes.lo)
    both = [search(p, attained.descent(p), Limits()) for p in (codes, levels)]
    assert all(one.finished.all() for one in both)
    assert np.array_equal(both[0].codes, both[1].codes + codes.lo)
    assert np.allclose(both[0].lower, both[1].lower, rtol=1e-10)
    for c in range(codes.channels):
        bounds = [solve_channel(p, c).lower for p in (codes, levels)]
        assert bounds[0] == pytest.approx(bounds[1], rel=1e-3)


def test_multipliers_shared_by_many_channels_on_levels():
    rng = np.random.default_rng(5)
    inputs = rng.standard_normal((40, 12)) @ rng.standard_normal((12, 12))
    weights = rng.standard_normal((200, 12))
    steps = rng.uniform(0.3, 0.6, (200, 3))
    problem = Case(inputs.T @ inputs, weights, Grid.nf4(3 * steps, 5))
    many = solve(problem)
    some = np.arange(0, 200, 40)
    alone = Case(problem.gram, weights[some], Grid.nf4(3 * steps[some], 5))
    few = solve(alone)
    assert (many.status == "exact").all()
    assert (few.status == "exact").all()
    assert np.allclose(many.upper[some], few.upper, rtol=1e-9)
    assert (many.lower[some] <= few.upper).all()


def test_a_step_for_every_input_is_another_gram():
    """``v_i = s_i z_i``: on ``diag(s) G diag(s)`` the steps are one, for powers of two exactly."""
    rng = np.random.default_rng(2)
    inputs = rng.standard_normal((20, 7))
    gram, weights = inputs.T @ inputs, rng.standard_normal((3, 7))
    steps = 2.0 ** rng.integers(-5, 1, 7)
    apart = solve(Case(gram, weights, Grid.uniform(3, steps[None, :], 0, 1)))
    inside = solve(Case(gram * np.outer(steps, steps), weights / steps, Grid.uniform(3, 1.0)))
    assert np.allclose(apart.upper, inside.upper, rtol=1e-12)
    assert np.array_equal(apart.weights, inside.weights * steps)
    assert np.allclose(apart.lower, inside.lower, rtol=1e-9)


@pytest.mark.parametrize("method", ["rtn", "gptq", "descent", "beam"])
def test_heuristics_are_in_order(method):
    worse = {"gptq": "rtn", "descent": "gptq", "beam": "gptq", "rtn": "rtn"}[method]
    total = np.zeros(2)
    for seed in range(20):
        problem = case("random", "codebook", 6, seed)
        total += [solve(problem, name).upper.sum() for name in (method, worse)]
    assert total[0] <= total[1]


def test_interrupted_searches_keep_better_bounds_than_the_relaxation():
    rng = np.random.default_rng(8)
    inputs = rng.standard_normal((60, 40))
    problem = Case(
        inputs.T @ inputs,
        rng.standard_normal((2, 40)),
        Grid.uniform(4, rng.uniform(0.1, 0.3, (2, 4)), 0, 10),
    )
    relaxed = solve(problem, "sdp")
    for nodes in (1000, 400_000, 2_000_000):
        found = solve(problem, node_limit=nodes)
        assert (found.nodes <= nodes).all()
        assert (found.lower >= relaxed.lower * (1 - 1e-6)).all()
        assert (found.lower <= found.upper).all()
        assert (found.upper <= relaxed.upper * (1 + 1e-12)).all()


def test_grids_are_taken_in_codes_where_they_can_be():
    problem = check_problem(np.eye(4), np.ones((1, 4)))
    for grid in (Grid.uniform(4, 0.1, 3), Grid.uniform(4, 0.1, signed=False)):
        assert isinstance(attempts.normalised(problem, grid), attempts.CodeProblem)
    for grid in (
        Grid.uniform(4, 0.1, 3.5, real_zero=True),
        Grid.uniform(4, [[0.1, 0.2]], 0, 2),
        Grid.nf4(0.1),
    ):
        assert isinstance(attempts.normalised(problem, grid), attempts.LevelProblem)
