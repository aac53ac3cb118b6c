"""Few nonzeros, all on a grid: ranges against every solution there is, in rationals."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest

from bounds import Grid, Joint, answer, check_problem, joint_range, pruning_range
from bounds.errors import MethodError, ProblemError
from bounds.fuzz.rational import ExactForm
from bounds.problem.methods import table
from bounds.problem.sparsity import Pattern, Sparse
from bounds.quantization.solve import quantization_range

METHODS = [method.name for method in table("joint")]


def problem(seed: int, n: int, channels: int = 2):
    """A Gram of correlated inputs, and weights."""
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(3 * n, n)) @ np.diag(np.exp(rng.normal(size=n)))
    inputs += rng.normal(size=(3 * n, 1)) * (seed % 3)
    return inputs.T @ inputs, rng.normal(size=(channels, n))


def optimum(gram, w, codes, step) -> Fraction:
    """The least error over all codes, in rationals where doubles do not decide."""
    d = codes * step - w
    errors = ((d @ gram) * d).sum(axis=1)
    near = codes[errors <= errors.min() * (1 + 1e-9) + 1e-12 * abs(errors).max()]
    return min(ExactForm(gram, w).grid_error(z, step) for z in near)


def allowed(n: int, bits: int, keep: int | None, pattern: tuple[int, int] | None):
    """Every code vector that is sparse enough."""
    levels = np.arange(-(2 ** (bits - 1)), 2 ** (bits - 1))
    codes = np.array(list(itertools.product(levels, repeat=n)), float)
    most, size = pattern or (keep, n)
    counts = [(codes[:, i : i + size] != 0).sum(axis=1) for i in range(0, n, size)]
    return codes[np.max(counts, axis=0) <= most]


CASES = [
    (seed, n, bits, keep, pattern)
    for seed, (n, bits, keep, pattern) in enumerate(
        [
            (5, 2, 2, None),
            (5, 3, 3, None),
            (4, 1, 2, None),
            (5, 2, None, (1, 2)),
            (5, 3, None, (2, 4)),
            (6, 2, 4, None),
            (5, 3, 1, None),
            (5, 3, 5, None),
            (4, 4, 2, None),
        ]
        * 2
    )
]


@pytest.mark.parametrize(("seed", "n", "bits", "keep", "pattern"), CASES)
def test_every_method_against_all_solutions(seed, n, bits, keep, pattern):
    gram, weights = problem(seed, n)
    step = float(np.exp(np.random.default_rng(seed).uniform(-1.5, 0.5)))
    codes = allowed(n, bits, keep, pattern)
    best = [optimum(gram, w, codes, step) for w in weights]
    for method in METHODS:
        limits = (None, 1, 7) if method == "exact" else (None,)
        for nodes in limits:
            found = joint_range(
                gram, weights, keep=keep, pattern=pattern, bits=bits, scale=step,
                method=method, node_limit=nodes,
            )  # fmt: skip
            assert found.constraint.fits(found.weights).all()
            for c, least in enumerate(best):
                assert Fraction(found.lower[c]) <= least <= Fraction(found.upper[c])
                if found.status[c] == "exact":
                    assert found.upper[c] == pytest.approx(float(least), rel=1e-9)
            if method == "exact" and nodes is None:
                assert found.count("exact") == len(weights)
            if method == "dual":
                assert len(found.proof) == len(weights)


def test_enough_room_is_quantization_and_a_fine_grid_is_pruning():
    gram, weights = problem(7, 10, channels=3)
    both = joint_range(gram, weights, keep=10, bits=3, scale=0.3)
    grid = quantization_range(gram, weights, bits=3, scale=0.3)
    assert both.upper == pytest.approx(grid.upper, rel=1e-9)
    fine = joint_range(gram, weights, keep=4, bits=12, scale=0.004)
    sparse = pruning_range(gram, weights, keep=4)
    assert (fine.lower >= sparse.lower * (1 - 1e-9)).all()
    assert fine.upper == pytest.approx(sparse.upper, rel=1e-3)


def test_more_room_and_finer_search_never_hurt():
    gram, weights = problem(3, 12, channels=2)
    errors = [joint_range(gram, weights, keep=k, bits=3, scale=0.4).upper for k in range(0, 13, 2)]
    assert (np.diff(errors, axis=0) <= 1e-12 * np.array(errors[:-1])).all()
    exact = joint_range(gram, weights, keep=6, bits=3, scale=0.4)
    bound = joint_range(gram, weights, keep=6, bits=3, scale=0.4, method="dual")
    assert (bound.lower <= exact.lower).all() and (bound.lower > 0.5 * exact.lower).all()
    assert (bound.upper >= exact.upper).all()


def test_units_change_nothing():
    gram, weights = problem(4, 9)
    plain = joint_range(gram, weights, keep=4, bits=3, scale=0.3)
    for gram_unit, unit in ((40, -30), (-600, 250)):
        scaled = joint_range(
            np.ldexp(gram, gram_unit), np.ldexp(weights, unit), keep=4, bits=3,
            scale=float(np.ldexp(0.3, unit)),
        )  # fmt: skip
        assert np.array_equal(scaled.weights, np.ldexp(plain.weights, unit))
        assert scaled.count("exact") == 2


def test_inputs_dead_or_dependent():
    gram, weights = problem(5, 8)
    dead = gram.copy()
    dead[2] = dead[:, 2] = 0
    found = joint_range(dead, weights, keep=3, bits=2, scale=0.5)
    assert (found.weights[:, 2] == 0).all() and found.count("exact") == 2
    inputs = np.random.default_rng(0).normal(size=(4, 6))  # fewer rows than inputs
    singular, weights = inputs.T @ inputs, weights[:, :6]
    found = joint_range(singular, weights, keep=3, bits=2, scale=0.5)
    codes = allowed(6, 2, 3, None)
    for c, w in enumerate(weights):
        best = optimum(singular, w, codes, 0.5)
        assert Fraction(found.lower[c]) <= best <= Fraction(found.upper[c])
        assert found.lower[c] > float(best) * (1 - 1e-6)


def test_nothing_kept_and_everything_dead():
    gram, weights = problem(6, 4)
    none = joint_range(gram, weights, keep=0, bits=3, scale=0.3)
    assert not none.weights.any() and none.count("exact") == 2
    gone = joint_range(np.zeros((4, 4)), weights, keep=2, bits=3, scale=0.3)
    assert gone.count("exact") == 2 and not gone.upper.any()


def test_wide_and_hard_ones_stop_at_their_limit_with_a_bound():
    gram, weights = problem(8, 60, channels=1)
    found = joint_range(gram, weights, keep=30, bits=4, scale=0.2, node_limit=50)
    assert found.status[0] == "certified" and 0 < found.lower[0] < found.upper[0]
    assert found.snr_bound - found.snr_attained < 3


def test_what_is_refused():
    gram, weights = problem(9, 4)
    with pytest.raises(ProblemError, match="scale must be"):
        joint_range(gram, weights, keep=2, bits=3)
    with pytest.raises(ProblemError, match="either a grid or bits"):
        joint_range(gram, weights, keep=2, bits=3, grid=Grid.uniform(3, 0.3))
    with pytest.raises(ProblemError, match="either keep"):
        joint_range(gram, weights, bits=3, scale=0.3)
    with pytest.raises(ProblemError, match="keep must be"):
        joint_range(gram, weights, keep=5, bits=3, scale=0.3)
    with pytest.raises(ProblemError, match="scale must be"):
        joint_range(gram, weights, keep=2, bits=3, scale="best-of-all")
    with pytest.raises(MethodError, match="unknown joint method"):
        joint_range(gram, weights, keep=2, bits=3, scale=0.3, method="sdp")


GRIDS = {
    "groups": Grid.uniform(2, [[0.4, 0.9], [0.7, 0.3]], group_size=3),
    "zero points": Grid.uniform(3, [[0.3, 0.5]], [[2, 5]], group_size=3, signed=False),
    "nf4": Grid.nf4([[1.1], [0.8]], 64),
    "ternary": Grid.ternary(0.6),
}


@pytest.mark.parametrize("name", GRIDS)
def test_every_grid_that_has_a_zero(name):
    grid, (gram, weights) = GRIDS[name], problem(11, 5)
    codes = np.array(list(itertools.product(grid.levels, repeat=5)), float)
    steps, zeros = grid.steps(2, 5), grid.zeros(2, 5)
    for method in METHODS:
        found = joint_range(gram, weights, keep=2, grid=grid, method=method)
        assert found.constraint.fits(found.weights).all()
        for c, w in enumerate(weights):
            values = (codes - zeros[c]) * steps[c]
            values = values[(values != 0).sum(axis=1) <= 2]
            errors = (((values - w) @ gram) * (values - w)).sum(axis=1)
            assert found.lower[c] <= errors.min() * (1 + 1e-12)
            assert found.upper[c] >= errors.min() * (1 - 1e-12)
            if method == "exact":
                assert found.upper[c] == pytest.approx(errors.min(), rel=1e-9)


def test_a_grid_without_zero_is_refused():
    gram, weights = problem(2, 4)
    grid = Grid.uniform(3, 0.3, 1.5, signed=False, real_zero=True)
    with pytest.raises(ProblemError, match="zero is no value of the grid in channel 0, input 0"):
        joint_range(gram, weights, keep=2, grid=grid)


def test_the_constraint_knows_its_storage_and_itself():
    joint = Joint(Grid.uniform(4, 0.1), Sparse(9))
    assert joint.bits_a_weight(36) == 1.0
    assert joint.bits_a_weight(36, "bitmask") == pytest.approx(2.0 + 16 / 36)
    assert str(joint) == "at most 9 nonzeros, 4 bits, 16 codes without zero point"
    two = Joint(Grid.uniform(4, 0.5), Pattern(2, 4))
    assert two.asks == {"pattern"}
    found = answer(check_problem(*problem(1, 8)), two, "exact")
    assert np.array_equal(found.recomputed(), found.upper)
