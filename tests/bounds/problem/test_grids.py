"""Grids with groups, zero points and codebooks: their points, errors, storage, and bad input."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from bounds import Grid, quantization_range
from bounds.errors import MethodError, ProblemError
from bounds.fuzz.rational import ExactForm
from bounds.problem import methods
from bounds.problem.codebooks import FP4, NF4, e4m3
from bounds.problem.gram import check_problem
from bounds.problem.points import point_offsets
from bounds.problem.scaling import Scaling

N, CHANNELS = 10, 3


def steps_of(rng, groups, channels=CHANNELS):
    return rng.uniform(0.05, 0.3, (channels, groups))


def grids(seed: int = 0) -> dict[str, Grid]:
    """One of every kind; groups of four leave a last group of two."""
    rng = np.random.default_rng(seed)
    powers = 2.0 ** rng.integers(-5, 0, (CHANNELS, 1))
    blocks = rng.choice(e4m3()[20:90], (CHANNELS, 1))
    zeros = rng.integers(-8, 8, (CHANNELS, 3))
    return {
        "shared": Grid.uniform(4, rng.uniform(0.05, 0.3)),
        "grouped": Grid.uniform(3, steps_of(rng, 3), group_size=4),
        "pointed": Grid.uniform(4, steps_of(rng, 3), zeros, group_size=4),
        "unsigned": Grid.uniform(2, steps_of(rng, 1), 2, signed=False),
        "real": Grid.uniform(
            4,
            steps_of(rng, 3),
            rng.uniform(-20, 20, (CHANNELS, 3)),
            4,
            signed=False,
            real_zero=True,
        ),
        "one row": Grid.uniform(4, steps_of(rng, 3, 1), group_size=4),
        "levels": Grid.codebook(np.sort(rng.standard_normal(7)), 0.3),
        "nf4": Grid.nf4(steps_of(rng, 3) * 8, 4),
        "fp4": Grid.fp4(steps_of(rng, 3), 4),
        "mxfp4": Grid.mxfp4(powers),
        "nvfp4": Grid.nvfp4(blocks, float(np.float32(0.1))),
        "ternary": Grid.ternary(steps_of(rng, 1)),
    }


def exact_value(grid: Grid, c: int, i: int, level) -> Fraction:
    step, zero = (float(f(CHANNELS, N)[c, i]) for f in (grid.steps, grid.zeros))
    return Fraction(step) * (Fraction(float(level)) - Fraction(zero))


@pytest.mark.parametrize("name", grids())
@pytest.mark.parametrize("seed", range(3))
def test_codes_are_nearest_and_come_back_from_their_values(name, seed):
    grid, rng = grids(seed)[name], np.random.default_rng(seed)
    weights = rng.standard_normal((CHANNELS, N))
    codes = grid.codes(weights)
    assert np.isin(codes, grid.levels).all()
    for c, i in np.ndindex(*codes.shape):
        far = [
            abs(exact_value(grid, c, i, level) - Fraction(float(weights[c, i])))
            for level in grid.levels
        ]
        here = abs(exact_value(grid, c, i, float(codes[c, i])) - Fraction(float(weights[c, i])))
        assert here <= min(far) + Fraction(1, 2**40)
    other = rng.choice(grid.levels, (CHANNELS, N))
    assert np.array_equal(grid.codes(grid.values(other)), other)
    assert grid.fits(grid.values(other)).all()
    off = grid.values(other)
    off[0, -1] *= 1 + 1e-6
    off[0, -1] += 1e-6
    assert list(grid.fits(off)) == [False, True, True]


@pytest.mark.parametrize("name", grids())
def test_errors_are_those_of_the_points_never_below(name):
    for seed in range(4):
        grid, rng = grids(seed)[name], np.random.default_rng(seed)
        rows = rng.standard_normal((N, N)) * 10.0 ** rng.integers(-4, 5, N)
        gram = (rows.T @ rows + (rows.T @ rows).T) / 2
        codes = rng.choice(grid.levels, (CHANNELS, N))
        # Weights next to the grid: rounding of the points is all of the error.
        weights = np.nextafter(grid.values(codes), rng.choice([-9.0, 9.0], codes.shape))
        weights[0] = grid.values(codes)[0]
        problem = check_problem(gram, weights)
        found = grid.errors(problem, grid.values(codes))
        for c in range(CHANNELS):
            form = ExactForm(gram, weights[c])
            points = [exact_value(grid, c, i, codes[c, i]) for i in range(N)]
            offsets = [p - Fraction(float(w)) for p, w in zip(points, weights[c], strict=True)]
            error = sum(
                Fraction(float(gram[i, j])) * offsets[i] * offsets[j]
                for i in range(N)
                for j in range(N)
            )
            upper = Fraction(float(found[c]))
            assert error <= upper and form.error(grid.values(codes)[c]) <= upper
            worst = max(error, form.error(grid.values(codes)[c]))
            size = sum(
                abs(Fraction(float(gram[i, j]))) * abs(offsets[i]) * abs(offsets[j])
                for i in range(N)
                for j in range(N)
            )
            assert upper <= worst * (1 + Fraction(1, 2**40)) + size / 2**40


@pytest.mark.parametrize("seed", range(6))
def test_offsets_keep_their_digits_however_they_cancel(seed):
    rng = np.random.default_rng(seed)
    shape = 40, 5
    steps = rng.uniform(0.5, 2, shape) * 10.0 ** rng.integers(-8, 9, shape)
    codes = rng.standard_normal(shape)
    zeros = rng.standard_normal(shape) * 10.0 ** rng.integers(-12, 9, shape)
    weights = steps * (codes - zeros)
    weights[::2] = np.nextafter(weights[::2], np.inf)
    zeros[:10] = rng.integers(-8, 8, (10, 5))
    codes[30:], zeros[30:] = 1.0, 1.0 + 2.0**-52 * rng.integers(-3, 3, (10, 5))
    weights[30:] = steps[30:] * (codes - zeros)[30:]
    found = point_offsets(weights, codes, steps, zeros)
    for place in np.ndindex(*shape):
        step, code, zero, weight = (
            Fraction(float(a[place])) for a in (steps, codes, zeros, weights)
        )
        exact = step * (code - zero) - weight
        high = float(found[place])
        got = Fraction(high) + Fraction(float(found[place] - np.longdouble(high)))
        assert abs(got - exact) <= abs(exact) / 2**50
    short = point_offsets(weights, np.rint(8 * codes), steps[:, 0])
    assert np.array_equal(
        short, point_offsets(weights, np.rint(8 * codes), steps[:, :1] + 0 * steps, 0 * steps)
    )


def test_shapes_of_steps():
    assert Grid.uniform(4, [0.1, 0.2, 0.3]).step.shape == (3, 1)
    assert Grid.uniform(4, 0.1).step.shape == (1, 1)
    assert np.array_equal(Grid.uniform(4, [0.1, 0.2]).steps(2), [0.1, 0.2])
    grid = Grid.uniform(4, [[0.1, 0.2, 0.3]], group_size=4)
    assert np.array_equal(grid.steps(1, 10)[0], [0.1] * 4 + [0.2] * 4 + [0.3] * 2)
    assert np.array_equal(grid.steps(2, 10)[1], grid.steps(2, 10)[0])
    assert grid.groups(10) == 3 and not grid.shared and Grid.uniform(4, 0.1, group_size=2).shared
    pointed = Grid.uniform(4, [0.1, 0.2], [[1, 2, 3], [3, 2, 1]], group_size=4)
    assert pointed.step.shape == pointed.zero.shape == (2, 3)
    assert np.array_equal(pointed.zeros(2, 9)[1], [3, 3, 3, 3, 2, 2, 2, 2, 1])
    with pytest.raises(ProblemError, match="no single step"):
        grid.steps(1)


@pytest.mark.parametrize("name", grids())
def test_parts_of_a_grid(name):
    grid, rng = grids()[name], np.random.default_rng(0)
    codes = rng.choice(grid.levels, (CHANNELS, N))
    values = grid.values(codes)
    assert np.array_equal(grid.rows(slice(1, 3)).values(codes[1:]), values[1:])
    for columns in (slice(0, 5), slice(4, 10), slice(8, 10), slice(3, 9)):
        part = grid.columns(N, columns)
        assert np.array_equal(part.values(codes[:, columns]), values[:, columns])
    scaling = Scaling(0, np.array([3, -2, 7]))
    scaled = grid.scaled(scaling)
    large = scaling.scaled(values, "weights")
    assert np.array_equal(scaled.values(codes), large)
    assert np.array_equal(scaled.rows(slice(1, 3)).values(codes[1:]), large[1:])


def test_storage_at_true_bits():
    ones = np.ones((2, 8))
    assert Grid.uniform(4, 1.0).bits_a_weight(256) == 4
    assert Grid.uniform(4, [1.0, 1.0]).bits_a_weight(256, "true") == 4 + 16 / 256
    assert Grid.uniform(4, 1.0).bits_a_weight(256, "true", channels=4) == 4 + 16 / 1024
    assert Grid.uniform(4, ones[:, :2], group_size=128).bits_a_weight(256, "true") == 4.125
    assert Grid.uniform(4, ones, ones, group_size=32).bits_a_weight(256, "true") == 4.625
    real = Grid.uniform(4, ones, ones / 3, group_size=32, real_zero=True)
    assert real.bits_a_weight(256, "true") == 5
    assert Grid.uniform(4, ones[:, :3], group_size=4).bits_a_weight(10, "true") == 4 + 3 * 1.6
    assert Grid.nf4(ones[:, :4]).bits_a_weight(256, "true") == 4.5
    assert Grid.nf4(ones[:, :4], step_bits=16).bits_a_weight(256, "true") == 4.25
    assert Grid.mxfp4(ones).bits_a_weight(256, "true") == 4.25
    nvfp4 = Grid.nvfp4(np.ones((2, 16)))
    assert nvfp4.bits_a_weight(256, "true", channels=2) == 4.5 + 32 / 512
    assert Grid.ternary(1.0).bits_a_weight(256) == 2


def test_formats_are_those_of_their_standards():
    assert len(NF4) == 16 and len(FP4) == 15
    assert all(float(np.float32(level)) == level for level in NF4)
    numbers = e4m3()
    assert (len(numbers), numbers[0], numbers[-1]) == (126, 2.0**-9, 448)
    torch = pytest.importorskip("torch")
    codes = torch.arange(256, dtype=torch.uint8).view(torch.float8_e4m3fn).double().numpy()
    assert np.array_equal(np.unique(codes[codes > 0]), numbers)
    assert Grid.nvfp4(0.0625, float(np.float32(0.1))).step[0, 0] == 0.0625 * float(np.float32(0.1))


BAD: list[tuple[Any, str]] = [
    (lambda: Grid.uniform(4, 0.1, 8), "zero point 8 is outside the codes -8 to 7"),
    (lambda: Grid.uniform(4, 0.1, -1, signed=False), "zero point -1 is outside the codes 0 to 15"),
    (lambda: Grid.uniform(4, 0.1, 0.5), "zero point 0.5 is no code"),
    (lambda: Grid.uniform(4, 0.1, np.nan), "zero points must be finite"),
    (lambda: Grid.uniform(4, 0.1, 1e11, real_zero=True), "zero points must be within"),
    (lambda: Grid.uniform(4, 0.1, "two"), "zero points"),
    (lambda: Grid.uniform(4, [[0.1, 0.0]], group_size=4), "scale must be positive"),
    (lambda: Grid.uniform(4, [[0.1, 5e-324]], group_size=4), "step 4.9.*e-324 is subnormal"),
    (lambda: Grid.uniform(4, [[0.1, np.inf]], group_size=4), "scale must be positive and finite"),
    (lambda: Grid.uniform(4, [[0.1, 0.2]]), "need a group_size"),
    (lambda: Grid.uniform(4, [[0.1, 0.2]], [[1, 2, 3]], 4), "do not match"),
    (lambda: Grid.uniform(4, np.ones((2, 2, 2)), group_size=4), r"got shape \(2, 2, 2\)"),
    (lambda: Grid.uniform(4, 0.1, group_size=0), "group_size must be a whole number"),
    (lambda: Grid.uniform(4, 0.1, group_size=2.5), "group_size must be a whole number"),  # type: ignore[arg-type]
    (lambda: Grid.codebook([0.0, 2.0, 1.0], 0.1), "levels must ascend, but 1 comes late"),
    (lambda: Grid.codebook([0.0, 1.0, 1.0], 0.1), "level 1 is given twice"),
    (lambda: Grid.codebook([0.0, 1.0, 1.0 + 1e-12], 0.1), "closer than"),
    (lambda: Grid.codebook([1.0], 0.1), "levels must be a list"),
    (lambda: Grid.codebook([0.0, np.nan], 0.1), "levels has a NaN"),
    (lambda: Grid.codebook([0.0, 1e30], 0.1), "the largest level is 1e"),
    (lambda: Grid.codebook(range(9), 0.1, bits=3), "9 levels need 4 bits, not 3"),
    (lambda: Grid.codebook([0.0, 1.0], 0.0), "scale must be positive"),
    (lambda: Grid.codebook([0.0, 1.0], 1e-310), "subnormal"),
    (lambda: Grid.mxfp4(0.3), "powers of two from 2.*got 0.3"),
    (lambda: Grid.mxfp4(2.0**-128), "powers of two"),
    (lambda: Grid.nvfp4(0.3), "positive FP8 numbers"),
    (lambda: Grid.nvfp4(449.0), "positive FP8 numbers"),
    (lambda: Grid.nvfp4(1.0, 0.1), "must be a positive float32"),
    (lambda: Grid.nvfp4(1.0, 0.0), "step must be a positive number"),
]  # fmt: skip


@pytest.mark.parametrize("case", range(len(BAD)))
def test_bad_grids_are_refused_by_name(case):
    make, message = BAD[case]
    with pytest.raises(ProblemError, match=message):
        make()


def test_a_grid_must_belong_to_its_problem():
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((CHANNELS, N))
    for grid, message in (
        (Grid.uniform(4, [0.1, 0.2]), r"one per channel \(3,\)"),
        (Grid.uniform(4, [[0.1, 0.2]], group_size=4), "are 3 groups, but there are steps for 2"),
        (Grid.uniform(4, [[1e-200, 1, 1]], group_size=4), "weights are over 1e"),
    ):
        with pytest.raises(ProblemError, match=message):
            grid.check(check_problem(np.eye(N), weights))
    plain = Grid.uniform(4, 0.2)
    wrongs: list[tuple[dict[str, Any], str]] = [
        ({"grid": plain, "bits": 4}, "not both"),
        ({"grid": plain, "scale": "mse"}, "not both"),
        ({"grid": "int9000"}, "grid"),
        ({"bits": 4}, "scale must be a positive number"),
        ({}, "unless a grid is given"),
    ]
    for wrong, message in wrongs:
        with pytest.raises(ProblemError, match=message):
            quantization_range(np.eye(N), weights, **wrong)
    same = quantization_range(np.eye(N), weights, bits=4, scale=0.2, method="beam")
    found = quantization_range(np.eye(N), weights, grid=plain, method="beam")
    assert np.array_equal(found.weights, same.weights) and np.array_equal(found.upper, same.upper)


def test_a_method_that_cannot_take_a_grid_says_so(monkeypatch):
    monkeypatch.setattr(methods, "_REGISTERED", {})
    methods.register(methods.Method("plain", "quantization", "elsewhere:plain"))
    weights = np.ones((1, 4))
    grid = Grid.uniform(4, [[0.1, 0.2]], group_size=2)
    with pytest.raises(MethodError, match="groups"):
        quantization_range(np.eye(4), weights, grid=grid, method="plain")
    with pytest.raises(MethodError, match="pairs is for integers of one step a channel"):
        quantization_range(np.eye(4), weights, grid=grid, method="sdp", pairs=3)


def test_a_last_group_that_is_shorter_is_said():
    found = Grid.uniform(4, 0.1, group_size=4).remarks(10)
    assert found == ("Groups of 4 do not divide 10 inputs: the last group has 2.",)
    assert Grid.uniform(4, 0.1, group_size=5).remarks(10) == ()
    said = quantization_range(
        np.eye(10), np.ones((1, 10)), grid=Grid.uniform(4, 0.1, group_size=4), method="rtn"
    )
    assert found[0] in said.notes


def test_in_words():
    assert str(Grid.uniform(4, 0.1)) == "4 bits, 16 codes without zero point"
    assert str(Grid.uniform(4, [[0.1, 0.1]], 1, 32)) == "int4 in groups of 32 with zero points"
    assert str(Grid.uniform(8, 0.1, 3, signed=False)) == "uint8 with zero points"
    assert str(Grid.nf4(0.1)) == "nf4 in groups of 64"
