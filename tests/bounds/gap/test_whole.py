"""Whole layers judged: against errors computed here, solvers asked directly, and known tools."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from bounds import Grid, quantization_range
from bounds.errors import ProblemError, SolverError
from bounds.gap.formats.weights import Weights, on_grid
from bounds.gap.judged import Sample, worst_first
from bounds.gap.whole import as_weights, judge_layer
from tests.bounds.gap.judged_cases import draw_dump, pruned, rounded

DUMP = draw_dump()
W, G = DUMP.weights.astype(float), DUMP.gram_blocks[0][0]


def errors(v, gram=G, w=W):
    return np.einsum("ci,ij,cj->c", v - w, gram, v - w)


def test_rounding_is_recognised_and_gptq_is_told_from_it():
    v = rounded(DUMP)
    found = judge_layer(DUMP, as_weights(v), channels=None)
    assert found.kind == "quantization" and found.flags == ("rounded to nearest",)
    assert found.error == pytest.approx(errors(v).sum()) and found.over_plain == 0
    assert found.heldout_error == pytest.approx(errors(v, DUMP.heldout_blocks[0][0]).sum())
    assert found.demand == "this looks like int4, a step a channel"
    assert found.bits == pytest.approx(4 + 16 / 48) and found.nearest == 1.0
    assert found.sample is not None and found.whole
    better = judge_layer(DUMP, as_weights(quantized(v, "gptq").weights), channels=None)
    assert better.over_plain < -1 and better.flags == ()
    assert better.over_quick == pytest.approx(0, abs=1e-9)
    assert 0 <= better.loss < found.loss <= found.to_bound < math.inf
    assert better.to_bound < found.to_bound and found.to_volume > 0


def quantized(v, method, **options):
    from bounds.gap.steps import find_grid

    grid = find_grid(v)
    return quantization_range(G, W, grid=grid, method=method, **options)


def test_the_bound_is_the_solvers_own():
    v = rounded(DUMP)
    found = judge_layer(DUMP, as_weights(v), channels=None)
    known = quantized(v, found.method)
    assert found.sample is not None
    np.testing.assert_allclose(found.sample.lower, known.lower, rtol=1e-9)
    assert (found.sample.best <= known.upper * (1 + 1e-12)).all()
    assert (found.sample.lower <= found.sample.best).all()
    # Narrow layers are searched to the end.
    narrow = draw_dump(features=8, channels=4)
    exact = judge_layer(narrow, as_weights(rounded(narrow)), channels=None)
    assert exact.method == "exact" and exact.loss == pytest.approx(exact.to_bound, abs=1e-6)


def test_a_worse_layer_is_called_that():
    v = rounded(DUMP)
    grid = np.unique(np.abs(np.diff(np.sort(v[0]))))
    v[0, :4] += grid[grid > 1e-9][0] * np.where(v[0, :4] > 0, -1, 1)
    found = judge_layer(DUMP, as_weights(v), channels=None)
    assert found.over_plain > 0.1 and found.flags == ("worse than rounding",)
    slightly = rounded(DUMP)
    slightly[0, 0] -= np.sign(slightly[0, 0]) * grid[grid > 1e-9][0]
    few = judge_layer(DUMP, as_weights(slightly), channels=None)
    assert few.nearest < 1


def test_the_grid_in_the_file_needs_no_finding():
    rng = np.random.default_rng(5)
    order = rng.permutation(48)
    steps, zeros = rng.random((12, 3)) / 5 + 0.2, rng.integers(6, 10, (12, 3)).astype(float)
    grid = Grid.uniform(4, steps, zeros, 16, signed=False)
    codes = np.empty_like(W)
    codes[:, order] = grid.codes(W[:, order])
    weights = on_grid("a.b", codes, grid, "made here, act-order", order=order)
    found = judge_layer(DUMP, weights, channels=None)
    assert found.demand == "made here, act-order" and found.flags == ("rounded to nearest",)
    assert found.error == pytest.approx(errors(weights.values).sum())
    assert found.plain == pytest.approx(found.error) and found.nearest == 1
    assert found.bits == pytest.approx(4 + 20 / 16)


def test_pruned_layers():
    found = judge_layer(DUMP, as_weights(pruned(DUMP, (2, 4))), channels=4)
    assert found.kind == "pruning" and found.demand == "this looks like 2:4 sparse"
    assert found.density == 0.5 and found.bits == pytest.approx(8 + math.log2(6) / 4)
    assert found.flags == ("the largest weights, as they were",)
    assert found.sample is not None and len(found.sample.error) == 4
    assert found.loss > 0.5 and found.over_plain == pytest.approx(0)
    own = np.where(np.abs(W) > 1, W, 0)
    some = judge_layer(DUMP, as_weights(own), channels=3)
    assert some.kind == "pruning" and "zeros in no pattern" in some.demand
    interval = some.loss_interval()
    assert interval is not None and interval[0] <= some.loss <= interval[1]


def test_both_at_once():
    v = pruned(DUMP, (2, 4))
    v = 0.25 * np.clip(np.rint(v / 0.25), -8, 7)
    found = judge_layer(DUMP, as_weights(v), channels=2)
    assert (
        found.kind == "joint"
        and found.density < 0.6
        and found.bits < 4
        and "both: int4" in found.demand
    )
    assert found.sample is not None and (found.sample.lower <= found.sample.error).all()


def test_layers_that_are_as_they_were_or_nothing_known():
    same = judge_layer(DUMP, as_weights(W.astype(np.float16), 2.0**-10))
    assert same.kind == "unchanged" and same.flags == ("as the original",) and math.isnan(same.loss)
    assert judge_layer(DUMP, as_weights(DUMP.weights)).snr == math.inf
    noisy = judge_layer(DUMP, as_weights(W + 0.01 * np.random.default_rng(0).normal(size=W.shape)))
    assert noisy.kind == "unknown" and "no grid in use" in noisy.demand and 30 < noisy.snr < 50
    scaled = judge_layer(DUMP, as_weights(rounded(DUMP) * np.linspace(0.2, 5, 48)))
    assert "as AWQ does" in " ".join(scaled.notes) and scaled.flags == (
        "does not resemble the original",
    )


def test_groups_and_layouts():
    dump = draw_dump(groups=4, channels=8, features=9, seed=2)
    found = judge_layer(dump, as_weights(rounded(dump).reshape(8, 9, 1, 1)), channels=None)
    w, v = dump.weights.astype(float), rounded(dump)
    each = [
        errors(v[g * 2 : g * 2 + 2], dump.gram_blocks[0][g], w[g * 2 : g * 2 + 2]) for g in range(4)
    ]
    assert found.error == pytest.approx(np.sum(each))
    assert found.sample is not None and found.sample.error.shape == (8,)
    np.testing.assert_allclose(found.sample.error, np.concatenate(each), rtol=1e-9)
    turned = replace(DUMP, recipe={"layout": "transposed"})
    other = judge_layer(turned, as_weights(rounded(DUMP).T.copy()), channels=2)
    assert other.error == pytest.approx(
        judge_layer(DUMP, as_weights(rounded(DUMP)), channels=2).error
    )


def test_what_cannot_be_judged():
    halves = (G[None, :24, :24], G[None, 24:, 24:])
    cut = replace(DUMP, block_width=24, gram_blocks=halves, heldout_blocks=(), heldout_rows=0)
    with pytest.raises(ProblemError, match="--blocks full"):
        judge_layer(cut, as_weights(W))
    with pytest.raises(ProblemError, match="shape"):
        judge_layer(DUMP, as_weights(W[:, :-1]))


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    rng = np.random.default_rng(0)
    error, best = rng.gamma(2, 2, 4000), rng.gamma(2, 1, 4000)
    truth, held = 10 * np.log10(error.sum() / best.sum()), 0
    for _ in range(200):
        pick = rng.choice(4000, 32, replace=False)
        some = Sample(error[pick], error[pick], None, best[pick], best[pick])
        low, high = some.interval(best[pick])
        held += low <= truth <= high
    assert 170 <= held <= 199


def test_worst_first_and_records():
    judged = [
        judge_layer(DUMP, as_weights(v), channels=4)
        for v in (W, rounded(DUMP), rounded(DUMP, "int3-channel"))
    ]
    order = worst_first(judged)
    assert order[-1].kind == "unchanged" and order[0].loss >= order[1].loss
    record = order[0].record()
    assert record["flags"] == ["rounded to nearest"] and record["loss_low"] <= record["loss"]
    assert order[-1].record()["loss"] is None


def test_weights_of_a_reader_keep_their_words():
    weights = Weights("a.b", rounded(DUMP), 2.0**-52, said="fp32")
    assert judge_layer(DUMP, weights, channels=2).said == "fp32"


def test_an_error_below_the_bound_is_no_result(monkeypatch):
    from bounds.gap import whole

    real = whole.answer

    def wrong(problem, constraint, method, options):
        found = real(problem, constraint, method, options)
        return replace(found, lower=found.upper * 2) if method.startswith("sdp") else found

    monkeypatch.setattr(whole, "answer", wrong)
    with pytest.raises(SolverError, match="refutes the bound"):
        judge_layer(DUMP, as_weights(rounded(DUMP)), channels=2)
