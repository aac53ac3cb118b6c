"""The best step: never beaten by any other, and near the best of many."""

from __future__ import annotations

import numpy as np
import pytest

from bounds import choose_scale, free_step_range, joint_range, quantization_range
from bounds.errors import ProblemError
from bounds.layer.free_step import box_bound
from bounds.problem.gram import check_problem

RNG = np.random.default_rng(8)
INPUTS = RNG.normal(size=(40, 6)) + RNG.normal(size=(40, 1))
GRAM, WEIGHTS = INPUTS.T @ INPUTS, RNG.normal(size=(3, 6))


def best_of_many(bits, per, **options):
    """The least error over a fine comb of steps, each step's codes refitted."""
    steps = np.geomspace(0.05, 3, 250)
    errors = []
    for s in steps:
        solve = joint_range if options else quantization_range
        found = solve(GRAM, WEIGHTS, bits=bits, scale=s, **options)
        z = np.rint(found.weights / s)
        a, b = ((z @ GRAM) * WEIGHTS).sum(axis=1), ((z @ GRAM) * z).sum(axis=1)
        if per == "tensor":
            a, b = a.sum(), b.sum()
        fit = np.where((a > 0) & (b > 0), a / np.where(b > 0, b, 1), s)
        d = z * np.reshape(fit, (-1, 1)) - WEIGHTS
        errors.append(((d @ GRAM) * d).sum(axis=1))
    errors = np.array(errors)
    return errors.sum(axis=1).min() if per == "tensor" else errors.min(axis=0)


@pytest.mark.parametrize("per", ["tensor", "channel"])
@pytest.mark.parametrize(("bits", "options"), [(1, {}), (2, {}), (3, {}), (2, {"keep": 3})])
def test_no_step_is_better_and_the_gap_is_as_asked(per, bits, options):
    found = free_step_range(GRAM, WEIGHTS, bits=bits, per=per, **options)
    best = best_of_many(bits, per, **options)
    assert (found.lower <= best * (1 + 1e-9)).all()
    assert (found.upper <= best * (1 + 1e-9)).all()
    assert (10 * np.log10(found.upper / found.lower) <= 0.01 + 1e-9).all()
    step = np.broadcast_to(found.step, 3)[:, None]
    d = found.weights - WEIGHTS
    errors = ((d @ GRAM) * d).sum(axis=1)
    errors = errors.sum() if per == "tensor" else errors
    assert errors == pytest.approx(found.upper, rel=1e-9)
    codes = found.weights / step
    assert np.abs(codes - np.rint(codes)).max() < 1e-9
    assert codes.min() >= -(2 ** (bits - 1)) - 1e-9 and codes.max() <= 2 ** (bits - 1) - 1 + 1e-9
    if options:
        assert (np.count_nonzero(found.weights, axis=1) <= options["keep"]).all()


def test_it_beats_the_rules_and_finer_accuracy_closes_the_gap():
    found = free_step_range(GRAM, WEIGHTS, bits=3, accuracy=0.001)
    assert found.snr_bound - found.snr_attained <= 0.001 + 1e-9
    for rule in ("mse-channel", "minmax-channel"):
        scale = choose_scale(WEIGHTS, 3, rule)
        ruled = quantization_range(GRAM, WEIGHTS, bits=3, scale=scale)
        assert (found.lower <= ruled.upper).all() and (found.upper <= ruled.upper).all()


def test_the_box_bounds_smaller_steps_too():
    problem = check_problem(GRAM, WEIGHTS)
    for step in (0.01, 0.1, 0.5):
        bound = box_bound(problem, 1, step, 2)
        for s in (step, step / 2, step / 7):
            assert bound <= quantization_range(GRAM, WEIGHTS, bits=2, scale=s).upper[1]


def test_degenerate_ones():
    zero = free_step_range(GRAM, np.zeros((1, 6)), bits=2)
    assert zero.lower[0] == zero.upper[0] == 0
    inputs = RNG.normal(size=(3, 6))
    singular = free_step_range(inputs.T @ inputs, WEIGHTS, bits=2)
    assert (singular.lower == 0).all() and "singular" in singular.notes[-1]
    one = free_step_range(np.eye(1), [[0.3]], bits=3)
    assert one.upper[0] < 1e-20


def test_what_is_refused():
    with pytest.raises(ProblemError, match="per must be one of tensor, channel"):
        free_step_range(GRAM, WEIGHTS, bits=2, per="group")
    with pytest.raises(ProblemError, match="accuracy must be decibels"):
        free_step_range(GRAM, WEIGHTS, bits=2, accuracy=0)
    with pytest.raises(ProblemError, match="bits must be"):
        free_step_range(GRAM, WEIGHTS, bits=0)
