"""A layer and its inputs give the same range as its Gram matrix and weights."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import bounds
from bounds import Grid, choose_scale, layer_range, pruning_range, quantization_range
from bounds.errors import MethodError, ProblemError
from layers.errors import CaptureError


def test_a_linear_layer():
    torch.manual_seed(1)
    layer, x = nn.Linear(8, 4), torch.randn(30, 8)
    w, gram = layer.weight.detach().numpy().astype(float), (x.double().T @ x.double()).numpy()
    found = layer_range(layer, x, bits=3)
    known = quantization_range(gram, w, bits=3, scale="mse")
    np.testing.assert_allclose(found.upper, known.upper, rtol=1e-9)
    np.testing.assert_allclose(found.lower, known.lower, rtol=1e-6)
    assert set(found.status) == {"exact"} and found.weights.shape == (4, 8)
    assert found.snr_attained == pytest.approx(known.snr_attained)
    grid = Grid.uniform(3, choose_scale(w, 3, "mse-channel"))
    per_channel = layer_range(layer, x, grid=grid)
    np.testing.assert_allclose(
        per_channel.upper, layer_range(layer, x, 3, scale="mse-channel").upper
    )
    np.testing.assert_allclose(
        per_channel.upper, layer_range(layer, x, 3, scale=grid.step.ravel()).upper
    )
    pruned = layer_range(layer, [x[:10], x[10:]], keep=3)
    np.testing.assert_allclose(pruned.upper, pruning_range(gram, w, keep=3).upper, rtol=1e-7)
    assert "Range(3 bits" in repr(found)


def test_groups_have_a_range_each():
    torch.manual_seed(2)
    layer, x = nn.Conv2d(4, 6, 3, groups=2, padding=1, bias=False), torch.randn(3, 4, 6, 6)
    found = layer_range(layer, x, bits=2, time_limit=None)
    assert len(found.parts) == 2 and found.upper.shape == (6,)
    with torch.no_grad():
        out = layer(x)
        layer.weight.copy_(torch.from_numpy(found.weights).reshape(layer.weight.shape))
        error = (layer(x) - out).double().square().sum((0, 2, 3))
    np.testing.assert_allclose(found.upper, error.numpy(), rtol=1e-5)
    assert "2 groups" in repr(found)
    pattern = layer_range(layer, x, pattern=(3, 9), method="magnitude-ls")
    assert ((pattern.weights != 0).reshape(6, 2, 9).sum(2) <= 3).all()


def test_wide_layers_are_bounded_rather_than_searched():
    rng = np.random.default_rng(3)
    w, x = rng.standard_normal((2, 70)).astype(np.float32), rng.standard_normal((200, 70))
    found = layer_range(w, x, 4)
    assert found.parts[0].method.startswith("sdp") and (found.lower > 0).all()


def test_what_cannot_be_asked():
    w, x = np.eye(3, dtype=np.float32), np.eye(3)
    wrong: tuple[dict[str, Any], ...] = (
        {},
        {"bits": 3, "keep": 2},
        {"keep": 4},
        {"bits": 3, "scale": "best"},
    )
    for options in wrong:
        with pytest.raises(ProblemError):
            layer_range(w, x, **options)
    with pytest.raises(MethodError):
        layer_range(w, x, bits=3, method="magic")
    with pytest.raises(CaptureError):
        layer_range(w, np.eye(4), bits=3)


def test_torch_is_not_imported_by_the_name_alone():
    code = "import sys; from bounds import layer_range; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(bounds.__file__).parents[1])
