"""The gap of a solution from elsewhere, against hand-computed values and against the solvers."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file as save_torch

from bounds import Grid, GridRule, pruning_range, quantization_range
from bounds.errors import Interrupted, MethodError, ProblemError, SolverError
from bounds.gap.demand import OWN
from bounds.gap.files import read_weights
from bounds.gap.judge import distance, gap, worst_channels
from bounds.gap.steps import infer_steps, to_codes
from bounds.gap.stored import as_stored
from bounds.problem.grid import choose_scale
from layers.dump.file import LayerDump, dump_path, read_dump
from tests.bounds.study.study_cases import TINY


@pytest.fixture(scope="module")
def head(ran):
    return read_dump(dump_path(ran.dumps, TINY, "head"))


def dump_of(weights, gram, **others) -> LayerDump:
    weights = np.asarray(weights, np.float32)
    blocks = (np.asarray(gram, np.float64)[None],)
    return LayerDump(
        source="net",
        layer="layer",
        kind="linear",
        weights=weights,
        gram_blocks=blocks,
        heldout_blocks=blocks,
        rows=4,
        heldout_rows=4,
        weight_shape=weights.shape,
        **others,
    )


#: Two inputs that see the same: errors cancel, and rounding to nearest does not know.
TWINS = dump_of([[0.375, 0.375]], [[1.0, 1.0], [1.0, 1.0]])


def test_by_hand():
    # On multiples of 1/4: nearest is (1/2, 1/2) by ties to even, error (1/4)^2; the best is
    # (1/4, 1/2), error 0.
    found = gap(TWINS, np.array([[0.5, 0.5]]), bits=3, scale=0.25)
    assert (found.error[0], found.upper[0]) == (
        pytest.approx(1 / 16),
        pytest.approx(0.0, abs=1e-15),
    )
    assert found.gap == math.inf and found.fits.all() and found.misfits == 0
    assert found.snr == pytest.approx(10 * math.log10(0.75**2 * 16))
    assert gap(TWINS, np.array([[0.25, 0.5]]), bits=3, scale=0.25).gap == 0.0


def test_by_hand_with_a_finite_gap():
    # Independent inputs, weights 0.4 and 0.4 on the grid of 1: the best is (0, 0), error 0.32;
    # (1, 0) has 0.36 + 0.16.
    dump = dump_of([[0.4, 0.4]], np.eye(2))
    found = gap(dump, np.array([[1.0, 0.0]]), bits=2, scale=1.0)
    assert found.gap == pytest.approx(10 * math.log10(0.52 / 0.32), abs=1e-6)
    assert found.channel_gaps[0] == found.gap
    # Pruning to one weight loses one of them; another kept is worse by its own error.
    kept = gap(dump, np.array([[0.6, 0.0]]), keep=1)
    assert kept.gap == pytest.approx(10 * math.log10((0.2**2 + 0.16) / 0.16), abs=1e-6)


@pytest.mark.parametrize(("bits", "dtype"), list(product((2, 4), (np.float64, np.float32))))
def test_an_optimal_quantization_has_no_gap(head, bits, dtype):
    step = choose_scale(head.weights, bits)
    best = np.zeros_like(head.weights, np.float64)
    for chunk in head.chunks(12):
        found = quantization_range(
            chunk.gram, chunk.weights, bits=bits, scale=step, time_limit=None
        )
        best[chunk.channels, chunk.features] = found.weights
    told = gap(head, best.astype(dtype), bits=bits, scale=step, size=12)
    assert told.fits.all()
    assert told.gap == pytest.approx(0.0, abs=1e-6)
    assert np.abs(told.channel_gaps).max() < 1e-6
    assert told.statuses == {"exact": 12 * 4, "certified": 0, "heuristic": 0}


def test_round_to_nearest_loses_what_it_loses(head):
    step = choose_scale(head.weights, 3)
    nearest, upper, lower = np.zeros(head.weights.shape), 0.0, 0.0
    for chunk in head.chunks(12):
        rtn = quantization_range(chunk.gram, chunk.weights, bits=3, scale=step, method="rtn")
        best = quantization_range(chunk.gram, chunk.weights, bits=3, scale=step, time_limit=None)
        nearest[chunk.channels, chunk.features] = rtn.weights
        upper, lower = upper + rtn.upper.sum(), lower + best.lower.sum()
    told = gap(head, nearest, bits=3, scale=step, size=12)
    assert told.gap == pytest.approx(10 * math.log10(upper / lower), abs=1e-9)
    assert told.snr == pytest.approx(10 * math.log10(told.energy.sum() / upper), abs=1e-9)
    # The layer's own error has the blocks between chunks, and is no sum over chunks.
    difference = nearest - head.weights.astype(np.float64)
    gram = head.gram_blocks[0][0]
    error = np.einsum("ci,ij,cj->c", difference, gram, difference)
    assert told.layer_error == pytest.approx(error)
    assert told.layer_snr != pytest.approx(told.snr, abs=1e-3)
    assert math.isfinite(told.heldout_snr)


def test_an_optimal_pruning_has_no_gap_and_magnitude_has_its_own(head):
    best, magnitude = np.zeros(head.weights.shape), np.zeros(head.weights.shape)
    upper = lower = 0.0
    for chunk in head.chunks(12):
        place = chunk.channels, chunk.features
        optimum = pruning_range(chunk.gram, chunk.weights, keep=4, time_limit=None)
        simple = pruning_range(chunk.gram, chunk.weights, keep=4, method="magnitude")
        best[place], magnitude[place] = optimum.weights, simple.weights
        upper, lower = upper + simple.upper.sum(), lower + optimum.lower.sum()
    for keep in (4, "own"):
        assert gap(head, best, keep=keep, size=12).gap == pytest.approx(0.0, abs=1e-6)
        told = gap(head, magnitude, keep=keep, size=12)
        assert told.gap == pytest.approx(10 * math.log10(upper / lower), abs=1e-9)
    assert told.demand.startswith("as many")


def test_off_the_grid_is_counted_and_left_out(head):
    step = choose_scale(head.weights, 4)
    v = step * np.clip(np.rint(head.weights / step), -8, 7).astype(np.float64)
    v[2, 5] += 0.3 * step
    v[2, 6] = 9 * step
    v[7, 0] += 0.1 * step
    told = gap(head, v, bits=4, scale=step, size=12)
    assert told.misfits == 3 and told.pieces == v.size
    assert np.flatnonzero(~told.fits).tolist() == [2, 7]
    assert np.isnan(told.channel_gaps[[2, 7]]).all()
    kept = told.fits
    expected = 10 * math.log10(told.error[kept].sum() / told.lower[kept].sum())
    assert told.gap == pytest.approx(expected)
    assert not {2, 7} & set(worst_channels(told, 12))


def test_too_many_nonzeros_are_counted(head):
    v = np.where(np.arange(head.features) % 12 < 3, head.weights, 0).astype(np.float32)
    v[4, 3] = v[4, 15] = 1.0
    told = gap(head, v, keep=3, size=12)
    assert told.misfits == 2 and told.pieces == 12 * 4
    assert np.flatnonzero(~told.fits).tolist() == [4]
    nothing = gap(head, np.ones_like(v), keep=3, size=12)
    assert math.isnan(nothing.gap) and not nothing.fits.any()
    assert list(worst_channels(nothing, 5)) == []


def test_relaxations_give_a_bound_that_is_no_smaller(head):
    step = choose_scale(head.weights, 3)
    v = step * np.clip(np.rint(head.weights / step), -4, 3).astype(np.float64)
    exact = gap(head, v, bits=3, scale=step, size=12)
    relaxed = gap(head, v, bits=3, scale=step, size=12, method="sdp")
    assert relaxed.gap >= exact.gap
    assert relaxed.statuses["certified"] == 48
    heuristic = gap(head, v, bits=3, scale=step, size=12, method="rtn")
    assert heuristic.gap == math.inf


def test_rules_for_the_step_are_those_of_studies(head):
    v = np.zeros(head.weights.shape)
    for chunk in head.chunks(12):
        w = chunk.weights.astype(np.float16).astype(np.float64)
        found = quantization_range(chunk.gram, w, bits=4, scale=choose_scale(w, 4), time_limit=None)
        v[chunk.channels, chunk.features] = found.weights
    told = gap(head, v, bits=4, scale="mse", size=12, rounding="fp16")
    assert told.misfits == 0 and told.gap == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_steps_are_found_in_the_solution(dtype, bits):
    rng = np.random.default_rng(bits)
    lo, hi = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    codes = rng.integers(lo, hi + 1, (20, 30))
    codes[:, :2] = (1, lo)  # so that no coarser grid fits
    steps = rng.uniform(0.01, 0.5, 20)
    stored = (steps[:, None] * codes).astype(dtype)
    accuracy = float(np.finfo(dtype).eps)
    found = infer_steps(stored.astype(np.float64), bits, accuracy)
    assert found == pytest.approx(steps, rel=4 * accuracy)
    back, fits = to_codes(stored.astype(np.float64), found, bits, accuracy)
    assert fits.all() and (back == codes).all()


def test_values_that_are_on_no_grid_are_not_taken_for_one():
    rng = np.random.default_rng(0)
    free = rng.normal(size=(3, 40))
    steps = infer_steps(free, 4, 1e-7)
    _, fits = to_codes(free, steps, 4, 1e-7)
    assert (fits.sum(axis=1) < 10).all()
    assert infer_steps(np.zeros((1, 4)), 4, 1e-7).tolist() == [1.0]


def test_grouped_convolution(ran, images, tmp_path):
    from layers.extract import extract

    (path,) = extract(TINY, ["depthwise"], str(images), tmp_path, heldout_count=2)
    dump = read_dump(path)
    assert dump.groups > 1
    found = gap(dump, dump.weights.reshape(dump.weight_shape), keep="own")
    assert found.gap == 0.0 and found.error.sum() == 0.0
    assert math.isinf(found.layer_snr)


def test_without_the_whole_gram_the_layer_is_not_told():
    gram = np.eye(2)
    blocks = (gram[None, :1, :1], gram[None, 1:, 1:])
    dump = replace(
        dump_of([[0.4, 0.3]], gram), gram_blocks=blocks, heldout_blocks=blocks, block_width=1
    )
    found = gap(dump, np.array([[0.4, 0.0]], np.float32), keep="own", size=1)
    assert found.layer_error is None and math.isnan(found.layer_snr)
    assert math.isnan(found.heldout_snr)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"keep": 3, "pattern": (2, 4)}, "either bits"),
        ({}, "either bits"),
        ({"bits": 4, "scale": "best"}, "infer, mse"),
        ({"bits": 4, "scale": -1.0}, "positive"),
        ({"bits": 0}, "from 1 to 16"),
        ({"keep": -1}, "keep must be"),
        ({"keep": "all"}, "keep must be"),
        ({"keep": True}, "keep must be"),
    ],
)
def test_refusals(changes, message):
    with pytest.raises(ProblemError, match=message):
        gap(TWINS, np.array([[0.5, 0.5]]), **changes)


def test_weights_that_are_not_the_layers_are_refused():
    for wrong, message in (
        (np.zeros((2, 2)), "shape"),
        (np.zeros((1, 2), int), "float64 or narrower"),
        (np.array([[np.nan, 0.0]]), "NaN"),
    ):
        with pytest.raises(ProblemError, match=message):
            gap(TWINS, wrong, bits=4, scale=1.0)


def test_an_error_below_the_bound_refutes_the_bound(monkeypatch):
    from bounds.gap import judge

    real = judge.answer

    def wrong(*args, **kwargs):
        found = real(*args, **kwargs)
        return replace(found, lower=found.upper + 1)

    monkeypatch.setattr(judge, "answer", wrong)
    with pytest.raises(SolverError, match=r"channel 0 .* refutes"):
        gap(TWINS, np.array([[0.5, 0.5]]), bits=3, scale=0.25)


def test_distance():
    assert distance(2.0, 1.0, 9.0) == pytest.approx(3.0103, abs=1e-4)
    assert distance(0.0, 0.0, 9.0) == 0.0 and distance(1.0, 0.0, 9.0) == math.inf
    assert distance(1e-14, 0.0, 1.0) == 0.0, "no more than rounding of the Gram itself"


def test_a_stop_leaves_a_gap_of_what_was_judged(head):
    """Numbers of the chunks and channels that were finished, and of no others."""
    compressed = np.zeros_like(head.weights)
    told: list[tuple[int, int]] = []

    def stop(done: int, total: int) -> None:
        told.append((done, total))
        if done > 30:
            raise KeyboardInterrupt

    with pytest.raises(Interrupted) as stopped:
        gap(head, compressed, keep=3, size=12, method="swap", progress=stop)
    found = stopped.value.found
    solved = int(found.solved.sum())
    assert 30 < solved < int(found.asked.sum()) == told[-1][1] == 48
    assert sum(found.statuses.values()) == found.pieces == solved
    for channel, count in enumerate(found.solved):
        energy = sum(
            float(np.einsum("i,ij,j", row, chunk.gram, row))
            for chunk in head.chunks(12)[:count]
            for row in [chunk.weights[channel].astype(np.float64)]
        )
        # All weights are zero: the error is the energy.
        np.testing.assert_allclose([found.energy[channel], found.error[channel]], energy)
    whole = gap(head, compressed, keep=3, size=12, method="swap")
    assert (whole.solved == whole.asked).all() and (found.upper <= whole.upper).all()


def test_channels_that_were_not_judged_have_no_gap(head):
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(Interrupted) as stopped:
        gap(head, np.zeros_like(head.weights), keep=3, size=12, method="obs", progress=stop)
    found = stopped.value.found
    assert found.solved.tolist() == [1] + [0] * 11
    assert np.isnan(found.channel_gaps[1:]).all() and list(worst_channels(found, 9)) == [0]


@pytest.mark.parametrize("bits", [2, 3, 4, 6, 8])
def test_a_grid_is_one_to_the_precision_of_its_file(bits):
    """bfloat16 keeps eight bits of step times code: steps are found, and codes are the right ones.

    At eight bits the largest codes are rounded by up to half a step: they are known to within one.
    """
    rng = np.random.default_rng(bits)
    lo, hi = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    codes = rng.integers(lo, hi + 1, (20, 60))
    codes[:, :3] = (1, lo, hi)
    steps = rng.uniform(0.01, 0.5, 20)
    tensor = torch.tensor(steps[:, None] * codes).bfloat16()
    stored = tensor.double().numpy()
    accuracy = as_stored("w", tensor).accuracy
    found = infer_steps(stored, bits, accuracy)
    assert found == pytest.approx(steps, rel=2.0**-8)
    back, fits = to_codes(stored, found, bits, accuracy)
    assert fits.all() and np.abs(back - codes).max() <= (bits == 8)
    assert (back == codes)[np.abs(codes) <= 64].all()


def test_bfloat16_weights_of_a_layer_fit_their_grid(head, tmp_path):
    step = choose_scale(head.weights, 4)
    v = step * np.clip(np.rint(head.weights / step), -8, 7)
    narrow = torch.tensor(v).bfloat16()
    save_torch({"w": narrow}, tmp_path / "w.safetensors")
    stored = read_weights(tmp_path / "w.safetensors", [head.weights.shape])
    for given in (narrow, stored):
        for scale in (step, "infer"):
            told = gap(head, given, bits=4, scale=scale, size=12, method="rtn")
            assert told.misfits == 0 and told.fits.all()
    assert gap(head, stored.values, bits=4, scale=step, size=12, method="rtn").misfits > 0


@pytest.mark.parametrize("rounding", ["fp16", "bf16"])
def test_weights_are_compared_after_the_rounding_asked_for(head, rounding):
    kind = {"fp16": torch.float16, "bf16": torch.bfloat16}[rounding]
    w = torch.tensor(head.weights).to(kind).double().numpy()
    told = gap(head, w, keep="own", size=12, rounding=rounding)
    assert told.error.sum() == 0.0
    other = "fp16" if rounding == "bf16" else "bf16"
    assert gap(head, w, keep="own", size=12, rounding=other).error.sum() > 0


def test_every_refusal_is_one_the_documentation_names():
    v = np.array([[0.5, 0.5]])
    wrong: list[dict[str, Any]] = [{"rounding": "fp8"}, {"time_limit": "1"}, {"time_limit": True}]
    for options in wrong:
        with pytest.raises(ProblemError):
            gap(TWINS, v, bits=3, scale=0.25, **options)
    with pytest.raises(ProblemError, match="do not fit FP16"):
        gap(dump_of([[1e5, 1.0]], np.eye(2)), v, keep=1, rounding="fp16")
    with pytest.raises(ProblemError, match="compressed weights cannot be taken"):
        gap(TWINS, [[0.5], [0.5, 0.5]], keep=1)
    with pytest.raises(ProblemError, match="compressed weights is a masked array"):
        gap(TWINS, np.ma.masked_array(v, v > 0), keep=1)
    with pytest.raises(MethodError):
        gap(TWINS, v, bits=3, scale=0.25, method="best")


@pytest.mark.parametrize("text", ["int3-g8-asym", "nf4-g16", "int4-g8-mse"])
def test_a_solution_on_groups_of_inputs_is_judged_on_its_own_grid(head, text):
    """Groups of 8 and 16 in chunks of 12: the steps go on from chunk to chunk."""
    weights = np.array(head.weights, np.float64)
    grid = GridRule.parse(text).grid(weights)
    nearest = grid.values(grid.codes(weights))
    given = gap(head, nearest, grid=grid, size=12)
    assert given.fits.all() and given.statuses["exact"] == 12 * 4
    lower = np.zeros(len(weights))
    for chunk in head.chunks(12):
        part = grid.columns(weights.shape[1], chunk.features)
        assert part.fits(nearest[:, chunk.features]).all()
        lower += quantization_range(chunk.gram, chunk.weights, grid=part, time_limit=None).lower
    assert given.lower == pytest.approx(lower, rel=1e-9)
    assert given.gap > 0
    # The grid found in the solution is no finer: what is attained on it is never better.
    kind = text.removesuffix("-mse")
    for asked in (kind, "infer"):
        found = gap(head, nearest.astype(np.float32), grid=asked, size=12)
        assert found.fits.all() and "found in the solution" in found.demand
        assert (found.lower >= given.lower * (1 - 1e-6)).all()
    chosen = gap(head, nearest, grid=text, scale="rule", size=12)
    assert chosen.lower == pytest.approx(given.lower) and "by the rule" in chosen.demand
    # 40 inputs are not whole groups of 16.
    assert ("the last group has 8" in given.demand) == ("16" in text)


def test_refusals_of_grids(head):
    weights = np.array(head.weights, np.float64)
    wrongs: list[tuple[dict[str, Any], str]] = [
        ({"grid": "int4", "bits": 4}, "give either bits or a grid"),
        ({"grid": "int4", "scale": 0.1}, "scale must be infer or rule"),
        ({"grid": "int44"}, "bits must be a whole number"),
        ({"grid": Grid.uniform(4, np.ones((12, 2)), group_size=8)}, "are 5 groups"),
        ({"grid": Grid.uniform(4, np.ones((11, 5)), group_size=8)}, "scale"),
    ]
    for wrong, message in wrongs:
        with pytest.raises(ProblemError, match=message):
            gap(head, weights, **wrong)


def test_patterns_and_both_at_once():
    """The largest two of every four inputs, alone and on a grid, against the solvers."""
    rng = np.random.default_rng(4)
    inputs, w = rng.normal(size=(60, 8)), rng.normal(size=(3, 8)).astype(np.float32)
    gram = inputs.T @ inputs
    dump = dump_of(w, (gram + gram.T) / 2)
    ranks = np.argsort(np.argsort(-np.abs(w).reshape(3, 2, 4), axis=2), axis=2)
    given = np.where(ranks < 2, w.reshape(3, 2, 4), 0).reshape(3, 8).astype(float)
    found = gap(dump, given, pattern=(2, 4))
    known = pruning_range(dump.gram_blocks[0][0], w, pattern=(2, 4))
    assert found.fits.all() and found.problem == "pruning"
    np.testing.assert_allclose(found.lower, known.lower, rtol=1e-6)
    on_grid = 0.25 * np.clip(np.rint(given / 0.25), -8, 7)
    both = gap(dump, on_grid, bits=4, scale=0.25, pattern=(2, 4))
    assert both.fits.all() and both.problem == "joint" and both.gap > 0
    assert (both.lower >= found.lower * (1 - 1e-9)).all(), "a grid can only make it worse"
    few = gap(dump, on_grid, bits=4, scale=0.25, keep=OWN)
    assert few.fits.all() and (few.lower <= both.lower * (1 + 1e-9)).all()
    dense = gap(dump, 0.25 * np.clip(np.rint(w / 0.25), -8, 7), bits=4, scale=0.25, pattern=(2, 4))
    assert not dense.fits.all() and dense.misfits == 3
    with pytest.raises(ProblemError, match="in the middle of 4 inputs"):
        gap(dump, given, pattern=(2, 4), size=6)
    for wrong in ({}, {"keep": 2, "pattern": (2, 4)}, {"bits": 4, "grid": "infer"}):
        with pytest.raises(ProblemError, match="give either"):
            gap(dump, given, **wrong)
