"""Gradual pruning against Zhu and Gupta's schedule."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from layers.errors import FinetuneError
from layers.finetuning.gradual import Mask, is_due, kept_count, shrink, sparsity_at


def test_the_schedule_is_zhu_and_guptas():
    """s_t = s_f + (s_i - s_f)(1 - (t - t_0)/(n dt))^3, with s_i = 0, t_0 = 0, n dt = 200."""
    initial, final, frequency, updates = 0.0, 0.875, 10, 20
    for k in range(updates + 1):
        wanted = final + (initial - final) * (1 - k * frequency / (updates * frequency)) ** 3
        assert sparsity_at(k * frequency, 200, final) == pytest.approx(wanted, abs=1e-15)
    assert sparsity_at(0, 200, final) == 0
    assert sparsity_at(200, 200, final) == sparsity_at(10**6, 200, final) == final
    assert sparsity_at(0, 0, final) == final
    values = [sparsity_at(t, 200, final) for t in range(201)]
    steps = [b - a for a, b in pairwise(values)]
    assert all(a > b > 0 for a, b in pairwise(steps)), "ever slower"


def test_masks_are_due_evenly_and_at_the_end():
    due = [t for t in range(300) if is_due(t, 100, 10)]
    assert due == list(range(0, 101, 10))
    assert [t for t in range(9) if is_due(t, 7, 100)] == list(range(8))
    assert [t for t in range(9) if is_due(t, 0, 5)] == [0]


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_the_largest_weights_are_kept(scope):
    generator = torch.Generator().manual_seed(3)
    weights = [torch.randn(6, 10, generator=generator), 5 * torch.randn(20, generator=generator)]
    masks = {Mask(weight): weight for weight in weights}
    shrink(masks, 0.75, scope)
    kept = [mask.mask for mask in masks]
    if scope == "layer":
        assert [int(k.sum()) for k in kept] == [15, 5]
        for k, weight in zip(kept, weights, strict=True):
            assert weight[k].abs().min() >= weight[~k].abs().max()
    else:
        flat = torch.cat([w.abs().reshape(-1) for w in weights])
        chosen = torch.cat([k.reshape(-1) for k in kept])
        assert int(chosen.sum()) == 20
        assert flat[chosen].min() >= flat[~chosen].max()


def test_globally_no_layer_is_left_empty():
    weights = [torch.full((4,), 1e-9), torch.ones(96)]
    masks = {Mask(weight): weight for weight in weights}
    shrink(masks, 0.9, "global")
    assert [int(mask.mask.sum()) for mask in masks] == [1, 9]


def test_what_is_removed_stays_removed_and_counts_are_exact():
    layer = nn.Linear(16, 8)
    mask = Mask(layer.weight)
    parametrize.register_parametrization(layer, "weight", mask)
    original = layer.parametrizations["weight"].original  # pyright: ignore
    before = mask.mask.clone()
    for k, sparsity in enumerate((0.1, 0.5, 0.5, 0.875)):
        shrink({mask: original}, sparsity)
        assert int(mask.mask.sum()) == kept_count(128, sparsity)
        assert not (mask.mask & ~before).any(), "masks only shrink"
        before = mask.mask.clone()
        original.grad = None
        layer(torch.ones(1, 16)).sum().backward()
        assert original.grad is not None and (original.grad[~mask.mask] == 0).all()
        with torch.no_grad():
            original.add_(torch.randn(8, 16, generator=torch.Generator().manual_seed(k)))
    assert int((layer.weight != 0).sum()) == 16


def test_equal_weights_are_removed_from_the_end():
    mask = Mask(torch.ones(10))
    shrink({mask: torch.ones(10)}, 0.6)
    assert mask.mask.tolist() == [True] * 4 + [False] * 6


def test_impossible_settings():
    with pytest.raises(FinetuneError, match="below 1"):
        sparsity_at(0, 1, 1.0)
    with pytest.raises(FinetuneError, match="layer, global"):
        shrink({}, 0.5, "channel")
