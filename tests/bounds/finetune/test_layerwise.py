"""Layers compressed without training, and trained weights held against true optima."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest

from bounds.errors import MethodError
from bounds.finetune.config import Judge
from bounds.finetune.layerwise import compress, judge_layer
from bounds.problem.grid import choose_scale
from bounds.problem.methods import PRUNING, QUANTIZATION
from layers.dump.file import read_dump
from layers.networks.finetuned import read_trained, read_weights

BOUNDS = Judge(bits=(2,))


def dumped(tuned, layer, seed=1):
    path = tuned.report.folder / "dumps" / f"original-seed{seed}--{layer}.safetensors"
    return read_dump(path)


def errors(gram, w, v):
    return np.einsum("ci,ij,cj->c", v - w, gram, v - w)


@pytest.mark.parametrize("layer", ["conv", "depthwise", "head"])
@pytest.mark.parametrize("step", ["tensor", "channel"])
def test_rounding_is_rounding(tuned, layer, step):
    dump = dumped(tuned, layer)
    w = dump.weights.astype(float)
    rule = "mse" if step == "tensor" else "mse-channel"
    steps = np.broadcast_to(choose_scale(w, 3, rule), (len(w),))[:, None]
    found = compress(dump, QUANTIZATION, "rtn", 3, step)
    np.testing.assert_allclose(found, steps * np.clip(np.rint(w / steps), -4, 3), rtol=1e-12)


@pytest.mark.parametrize(("layer", "kept"), [("conv", 2), ("depthwise", 2), ("head", 9)])
def test_magnitude_keeps_as_many_in_every_channel(tuned, layer, kept):
    dump = dumped(tuned, layer)
    found = compress(dump, PRUNING, "magnitude", 4, "tensor")
    assert ((found != 0).sum(axis=1) == kept).all()
    assert ((found == 0) | (found == dump.weights)).all()


def test_a_method_that_is_none(tuned):
    with pytest.raises(MethodError, match="nothing"):
        compress(dumped(tuned, "conv"), PRUNING, "nothing", 4, "tensor")


@pytest.mark.parametrize("layer", ["conv", "depthwise"])
def test_bounds_of_trained_weights_against_brute_force(tuned, layer):
    """Nine inputs: every code and every support is tried, on the trained grid and counts."""
    dump = dumped(tuned, layer)
    w = dump.weights.astype(float)
    grams = [chunk.gram for chunk in dump.chunks(None) for _ in range(len(chunk.weights))]
    runs = tuned.report.folder / "runs"
    qat, pruned = read_trained(runs / "qat-2-seed1"), read_trained(runs / "gradual-2-seed1")
    v = read_weights(qat)[f"{layer}.weight"].numpy()
    steps = np.full(len(w), qat.steps[layer][0])
    found = judge_layer(dump, v, QUANTIZATION, bits=2, steps=steps, bounds=BOUNDS)
    codes = np.array(list(product((-2, -1, 0, 1), repeat=9)), float)
    best = sum(
        float(np.einsum("zi,ij,zj->z", s * codes - row, gram, s * codes - row).min())
        for s, row, gram in zip(steps, w, grams, strict=True)
    )
    error = sum(
        float(errors(gram, row[None], one[None])[0])
        for gram, row, one in zip(grams, w, v.reshape(w.shape).astype(float), strict=True)
    )
    assert found.lower is not None and found.error == pytest.approx(error, rel=1e-6)
    assert found.lower <= best * (1 + 1e-9) and best <= found.error * (1 + 1e-6)
    assert found.lower > 0.5 * best, "and it is not far from it"

    p = read_weights(pruned)[f"{layer}.weight"].numpy()
    found = judge_layer(dump, p, PRUNING, bounds=BOUNDS)
    best = 0.0
    for row, gram, one in zip(w, grams, p.reshape(w.shape), strict=True):
        count = int((one != 0).sum())
        tried = []
        for support in map(list, combinations(range(9), count)):
            point = np.zeros(9)
            inner = gram[np.ix_(support, support)]
            point[support] = np.linalg.lstsq(inner, gram[support] @ row, rcond=None)[0]
            tried.append(float(errors(gram, row[None], point[None])[0]))
        best += min(tried)
    assert found.lower is not None
    assert found.lower <= best * (1 + 1e-9) and best <= found.error * (1 + 1e-6)


def test_without_bounds_and_off_the_grid(tuned):
    dump = dumped(tuned, "head")
    w = dump.weights
    known = judge_layer(dump, w * np.float32(1.1), PRUNING)
    assert known.lower is None
    assert known.energy / known.error == pytest.approx(100, rel=1e-5)
    assert known.heldout_snr == pytest.approx(20, abs=1e-4)
    narrow = Judge(bits=(2,), features=35)
    assert judge_layer(dump, w, PRUNING, bounds=narrow).lower is None
    off = judge_layer(dump, w, QUANTIZATION, bits=2, steps=np.full(3, 0.1), bounds=BOUNDS)
    assert off.lower is None, "weights off the grid are under no bound of it"
