"""Grids chosen from weights: their words, what each rule promises, brute force over choices."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

from bounds import GridRule, quantization_range
from bounds.errors import ProblemError
from bounds.problem.choose import choose_scale
from bounds.problem.codebooks import FP4, NF4, e4m3
from bounds.problem.rule import FORMATS, grid_for

RNG = np.random.default_rng(3)
WEIGHTS = RNG.standard_normal((4, 70)) * np.array([[1e-3], [0.02], [0.5], [7.0]])
TEXTS = [
    "int4", "int4-g32", "int3-g16-asym", "int4-tensor-mse", "int8-tensor-asym-mse", "int1-g8-mse",
    "int4-g32-asym-mse-bf16", "nf4", "nf4-g32-mse-fp16", "fp4-g32", "fp4-mse", "mxfp4",
    "mxfp4-mse", "nvfp4", "nvfp4-mse", "ternary", "ternary-g64-mse",
]  # fmt: skip


def losses(text: str, weights=WEIGHTS) -> np.ndarray:
    grid = grid_for(text, weights)
    return np.square(grid.values(grid.codes(weights)) - weights)


@pytest.mark.parametrize("text", TEXTS)
def test_text_and_rule_are_the_same(text):
    rule = GridRule.parse(text)
    assert str(rule) == text and GridRule.parse(str(rule)) == rule
    grid = rule.grid(WEIGHTS)
    assert grid.name == text.split("-")[0] and grid.bits == rule.bits
    assert grid.symmetric == rule.symmetric
    assert grid.group_size == rule.group_size
    assert grid.step.shape[0] == (1 if rule.strategy == "tensor" else 4)
    assert grid.step_bits == (8 if "fp4" in text and text[0] in "mn" and text[:3] != "nf4" else
                              32 if text == "nf4" else 16)  # fmt: skip
    assert np.array_equal(grid_for(rule, WEIGHTS).step, grid_for(text, WEIGHTS).step)
    assert grid_for(grid, WEIGHTS) is grid


def test_what_is_usual_goes_without_saying():
    assert str(GridRule("nf4", group_size=64)) == "nf4"
    assert str(GridRule.parse("INT4-g128-minmax-fp16")) == "int4-g128"
    assert GridRule("nf4", strategy="channel").group_size is None
    assert str(GridRule("nf4", strategy="channel")) == "nf4-channel"
    assert set(FORMATS) >= {GridRule.parse(text).format for text in TEXTS}


@pytest.mark.parametrize("text", [t for t in TEXTS if t.endswith("mse")])
def test_the_search_misses_less_than_the_rule_it_starts_from(text):
    assert losses(text).sum() <= losses(text.replace("-mse", "")).sum()


@pytest.mark.parametrize("text", ["int4-g16", "int5-channel", "int3-tensor", "nf4-g16", "fp4-g16"])
def test_minmax_clips_nothing(text):
    grid = GridRule.parse(text + "-fp32" if not text.startswith("nf4") else text).grid(WEIGHTS)
    targets = WEIGHTS / grid.steps(*WEIGHTS.shape)
    assert targets.min() >= grid.lo * (1 + 1e-6) and targets.max() <= grid.hi * (1 + 1e-6)
    blocks = np.pad(targets, ((0, 0), (0, 10))).reshape(4, 5, 16) if "g16" in text else targets
    reach = np.maximum(blocks / grid.lo, blocks / grid.hi).max(axis=-1)
    assert np.allclose(reach if text != "int3-tensor" else reach.max(), 1, atol=1e-6)


def test_zero_points_hold_zero_and_both_ends():
    skewed = WEIGHTS + np.abs(WEIGHTS).max(axis=1, keepdims=True)
    grid = GridRule.parse("int4-g16-asym-fp32").grid(skewed)
    assert np.array_equal(grid.zero, np.rint(grid.zero)) and (grid.zero == -8).all()
    assert (
        np.square(grid.values(grid.codes(skewed)) - skewed).sum() < losses("int4-g16", skewed).sum()
    )
    mixed = GridRule.parse("int4-g16-asym-fp32").grid(WEIGHTS)
    zeros = np.zeros_like(WEIGHTS)
    assert np.array_equal(mixed.values(mixed.codes(zeros)), zeros)
    error = np.abs(mixed.values(mixed.codes(WEIGHTS)) - WEIGHTS)
    assert (error <= mixed.steps(*WEIGHTS.shape) * (1 + 1e-6)).all()  # the zero point is rounded


def test_searched_steps_of_channels_are_those_of_the_papers_search():
    own = GridRule.parse("int4-channel-mse-fp32").grid(WEIGHTS).step[:, 0]
    assert np.allclose(own, choose_scale(WEIGHTS, 4, "mse-channel"), rtol=1e-6)
    own = GridRule.parse("int4-tensor-mse-fp32").grid(WEIGHTS).step[0, 0]
    assert own == pytest.approx(choose_scale(WEIGHTS, 4, "mse"), rel=1e-6)


def test_nf4_is_that_of_bitsandbytes():
    """Its blockwise rule: the largest weight of 64 in size, as float32, then the nearest level."""
    grid = GridRule.parse("nf4").grid(WEIGHTS)
    for c, g in product(range(4), range(2)):
        block = WEIGHTS[c, 64 * g : 64 * g + 64]
        assert grid.step[c, g] == np.float32(np.abs(block).max())
    codes = grid.codes(WEIGHTS)
    far = np.abs(WEIGHTS[..., None] / grid.steps(*WEIGHTS.shape)[..., None] - np.array(NF4))
    assert np.array_equal(codes, np.array(NF4)[far.argmin(axis=-1)])


def test_mxfp4_takes_the_exponent_of_the_largest_weight():
    grid = GridRule.parse("mxfp4").grid(WEIGHTS)
    for c, g in product(range(4), range(3)):
        largest = np.abs(WEIGHTS[c, 32 * g : 32 * g + 32]).max()
        assert grid.step[c, g] == 2.0 ** (np.floor(np.log2(largest)) - 2)
        assert 4 <= largest / grid.step[c, g] < 8
    best = GridRule.parse("mxfp4-mse").grid(WEIGHTS)
    levels = np.array(FP4)
    for c, g in product(range(4), range(3)):
        block = WEIGHTS[c, 32 * g : 32 * g + 32]

        def loss(step, block=block):
            return np.square(np.abs(block[:, None] - step * levels).min(axis=1)).sum()

        every = [loss(2.0**e) for e in range(-20, 8)]
        assert loss(best.step[c, g]) == min(every)


def test_nvfp4_has_two_levels_of_steps():
    grid = GridRule.parse("nvfp4").grid(WEIGHTS)
    tensor = float(np.float32(np.abs(WEIGHTS).max() / (6 * 448)))
    assert np.isin(grid.step / tensor, e4m3()).all()
    assert grid.step.max() == 448 * tensor
    best = GridRule.parse("nvfp4-mse").grid(WEIGHTS)
    levels = np.array(FP4)
    for c, g in ((2, 0), (3, 1), (3, 4)):
        block = WEIGHTS[c, 16 * g : 16 * g + 16]
        every = [
            np.square(np.abs(block[:, None] - s * tensor * levels).min(axis=1)).sum()
            for s in e4m3()
        ]
        own = np.square(np.abs(block[:, None] - best.step[c, g] * levels).min(axis=1)).sum()
        assert own == pytest.approx(min(every), rel=0.02)


@pytest.mark.parametrize("text", TEXTS)
def test_zeros_and_numbers_of_any_size_have_a_grid(text):
    for weights in (np.zeros((2, 40)), np.ones((1, 3)), WEIGHTS * 1e-4, WEIGHTS * 1e3):
        grid = grid_for(text, weights)
        assert (grid.step > 0).all()
        assert np.isfinite(grid.values(grid.codes(weights))).all()


def test_a_range_on_a_grid_asked_for_by_name():
    found = quantization_range(np.eye(70), WEIGHTS, grid="int4-channel", method="rtn")
    assert found.upper == pytest.approx(losses("int4-channel").sum(axis=1), rel=1e-9)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "unknown grid ''; give one such as int4-g128"),
        ("int4g128", "unknown grid"),
        ("fp5", "unknown grid"),
        ("int17", "bits must be a whole number"),
        ("int0", "bits must be a whole number"),
        ("int4-g0", "unknown option 'g0'"),
        ("int4-best", "unknown option 'best'; there are g128"),
        ("int4-g32-g64", "after another group_size"),
        ("int4-g32-channel", "a group_size is for strategy group"),
        ("nf4-asym", "nf4 has no zero points"),
        ("mxfp4-g16", "mxfp4 has blocks of 32"),
        ("nvfp4-channel", "nvfp4 has blocks of 16"),
        ("mxfp4-fp16", "steps of its own format"),
    ],
)
def test_words_that_spell_no_grid(text, message):
    with pytest.raises(ProblemError, match=message):
        GridRule.parse(text)


def test_rules_that_make_no_grid():
    wrongs: list[tuple[dict[str, Any], str]] = [
        ({"format": "int5"}, "format must be one of int, nf4"),
        ({"observer": "best"}, "observer must be one of minmax, mse"),
        ({"symmetric": 1}, "symmetric must be true or false"),
        ({"strategy": "group"}, "which needs one"),
        ({"strategy": "row"}, "strategy must be one of tensor, channel, group"),
        ({"group_size": 0}, "group_size must be a whole number"),
        ({"num_bits": 3.5}, "bits must be a whole number"),
        ({"format": "nf4", "num_bits": 3}, "nf4 has 4 bits, not 3"),
        ({"scale_dtype": "float64"}, "scale_dtype must be one of float16"),
    ]
    for wrong, message in wrongs:
        with pytest.raises(ProblemError, match=message):
            GridRule(**wrong)
    with pytest.raises(ProblemError, match="does not fit float16; choose a wider scale_dtype"):
        grid_for("int4", WEIGHTS * 1e8)
    with pytest.raises(ProblemError, match="NaN"):
        grid_for("int4", [[np.nan]])
    with pytest.raises(ProblemError, match="grid must be a Grid, a GridRule or text"):
        grid_for(4, WEIGHTS)  # type: ignore[arg-type]
