"""bitsandbytes: what it writes itself on a CPU where it is installed, and blocks packed here."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch

from bounds.errors import ProblemError
from bounds.gap.formats.checkpoint import open_checkpoint
from bounds.problem.codebooks import NF4
from tests.bounds.gap.formats.packed import save


@pytest.mark.parametrize("features", [128, 96, 27])
def test_packed_here(tmp_path, features):
    """Blocks of 64 through the flattened weights; 96 inputs share blocks with their neighbours."""
    rng = np.random.default_rng(features)
    shape, book = (10, features), np.array(NF4)
    codes = rng.integers(0, 16, shape[0] * features)
    largest = (rng.random(-(-codes.size // 64)) + 0.5).astype(np.float32)
    w = (book[codes] * np.repeat(largest.astype(float), 64)[: codes.size]).reshape(shape)
    even = np.concatenate([codes, np.zeros(codes.size % 2, int)])
    state = {"quant_type": "nf4", "blocksize": 64, "dtype": "float32", "shape": list(shape)}
    told = np.frombuffer(json.dumps(state).encode(), np.uint8)
    save(tmp_path / "m.safetensors", {
        "l.weight": (even[0::2] << 4 | even[1::2]).astype(np.uint8)[:, None],
        "l.weight.absmax": largest, "l.weight.quant_map": book.astype(np.float32),
        "l.weight.quant_state.bitsandbytes__nf4": told,
    })  # fmt: skip
    checkpoint = open_checkpoint(tmp_path / "m.safetensors")
    assert checkpoint.names[0] == "l"
    if features == 27:  # 270 weights are not a whole number of blocks, nor of groups of one divisor
        found = checkpoint.read("l")
        assert found.grid is not None and found.grid.group_size == 1
    found = checkpoint.read("l")
    assert np.array_equal(found.values, w) and "nf4, blocks of 64" in found.said
    assert found.grid is not None
    true = 4 + 32 / 64
    assert found.grid.bits_a_weight(features, "stored", 10) == pytest.approx(true, abs=0.51)
    if features % 32 == 0:
        assert found.grid.bits_a_weight(features, "stored", 10) == true
    assert found.grid is not None and found.grid.fits(w).all()


def test_int8_rows(tmp_path):
    codes = np.random.default_rng(0).integers(-127, 128, (4, 12)).astype(np.int8)
    rows = np.array([1.0, 2.0, 0.5, 0.25], np.float32)
    save(tmp_path / "m.safetensors", {"l.weight": codes, "l.SCB": rows})
    found = open_checkpoint(tmp_path / "m.safetensors").read("l")
    assert np.array_equal(found.values, codes * (rows.astype(float) / 127)[:, None])


def test_a_damaged_state(tmp_path):
    save(tmp_path / "m.safetensors", {
        "l.weight": np.zeros((4, 1), np.uint8), "l.weight.absmax": np.ones(1, np.float32),
        "l.weight.quant_map": np.array(NF4, np.float32),
        "l.weight.quant_state.bitsandbytes__nf4": np.frombuffer(b"{}", np.uint8),
    })  # fmt: skip
    with pytest.raises(ProblemError, match="quant_state is unreadable"):
        open_checkpoint(tmp_path / "m.safetensors").read("l")


@pytest.mark.parametrize("kind", ["nf4", "fp4"])
@pytest.mark.parametrize("nested", [False, True])
def test_what_the_package_itself_writes(tmp_path, kind, nested):
    functional: Any = pytest.importorskip(
        "bitsandbytes.functional", reason="the package bitsandbytes is not installed"
    )
    torch.manual_seed(2)
    # Its CPU kernel (0.50.2) takes the wrong blocks where they run over the end of a row: 96 inputs
    # come back from it with a mean squared error nine times that of 128.
    w = torch.randn(48, 128)
    packed, state = functional.quantize_4bit(w, quant_type=kind, compress_statistics=nested)
    theirs = functional.dequantize_4bit(packed, state).double().numpy()
    tensors = {f"l.weight.{name}": t for name, t in state.as_dict(packed=True).items()}
    save(tmp_path / "m.safetensors", {"l.weight": packed, **tensors})
    found = open_checkpoint(tmp_path / "m.safetensors").read("l")
    np.testing.assert_allclose(found.values, theirs, rtol=1e-6, atol=1e-7)
    assert found.grid is not None and found.grid.group_size == 64
    assert len(found.grid.levels) == (16 if kind == "nf4" else 15)
