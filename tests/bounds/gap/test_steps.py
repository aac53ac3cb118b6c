"""Grids found in weights alone: kind, steps and zero points, after a file has rounded them."""

from __future__ import annotations

import numpy as np
import pytest

from bounds import GridRule
from bounds.errors import ProblemError
from bounds.gap.steps import find_grid

RNG = np.random.default_rng(8)
WEIGHTS = RNG.standard_normal((20, 256)) * RNG.uniform(0.01, 0.1, (20, 1))


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
@pytest.mark.parametrize(
    "text",
    ["int4", "int3-g64-mse", "int4-g32-mse", "int4-g128-asym", "int2-g16-asym", "nf4", "nf4-g32",
     "nf4-channel", "fp4-g32", "mxfp4-mse", "nvfp4", "int8-channel", "int8-g128-asym"],
)  # fmt: skip
def test_the_grid_of_a_file_is_found(text, dtype):
    accuracy = float(np.finfo(dtype).eps)
    made = GridRule.parse(text).grid(WEIGHTS)
    values = made.values(made.codes(WEIGHTS))
    stored = values.astype(dtype).astype(np.float64)
    found = find_grid(stored, accuracy)
    assert found.near(stored, accuracy).all()
    assert (found.bits, found.symmetric) == (made.bits, made.symmetric)
    assert found.group_size == made.group_size
    assert np.array_equal(found.levels, made.levels)
    # A block may lie on a coarser grid too; all others have the step that was chosen.
    ratio = found.steps(*values.shape) / made.steps(*values.shape)
    same = np.abs(ratio - 1) < 8 * accuracy + 1e-3 * (text == "nvfp4")
    assert same.mean() > 0.9 and (ratio > 0.99).all()
    if not made.symmetric:
        assert (found.zero == np.rint(found.zero)).all()
        back = found.values(found.codes(stored))
        assert np.allclose(back, values, rtol=4 * accuracy, atol=0)


def test_weights_on_no_grid_are_told_apart():
    found = find_grid(WEIGHTS)
    assert not found.near(WEIGHTS).all(axis=1).any()
    named = [GridRule.parse(text) for text in ("int4-g16", "int4-g128")]
    made = named[0].grid(WEIGHTS)
    values = made.values(made.codes(WEIGHTS))
    values[3, 7] += 0.3 * made.steps(*values.shape)[3, 7]
    near = find_grid(values, 2.0**-40, named).near(values, 2.0**-40)
    assert (~near).sum() == 1 and not near[3, 7]
    with pytest.raises(ProblemError, match="rules are empty"):
        find_grid(WEIGHTS, rules=[])


def test_a_named_kind_alone_is_looked_for():
    made = GridRule.parse("mxfp4").grid(WEIGHTS)
    values = made.values(made.codes(WEIGHTS))
    found = find_grid(values, rules=[GridRule.parse("mxfp4")])
    assert found.name == "mxfp4" and found.near(values).all()
    assert found.bits_a_weight(256, "true") == 4.25


def test_zeros_are_on_every_grid():
    values = np.zeros((2, 32))
    found = find_grid(values)
    assert (found.step == 1).all() and found.near(values).all()
