"""GGUF: what the package gguf quantizes itself, and blocks of random bytes against its decoder."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bounds.errors import ProblemError
from bounds.gap.formats.checkpoint import open_checkpoint
from bounds.gap.formats.gguf_file import BLOCKS

gguf: Any = pytest.importorskip("gguf", reason="the package gguf is not installed (extra gguf)")

OUT, IN = 6, 512
NAME = "blk.1.ffn_down.weight"


def write(path, tensors) -> None:
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_block_count(2)
    for name, (array, kind) in tensors.items():
        writer.add_tensor(name, array, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def kind_of(name):
    return getattr(gguf.GGMLQuantizationType, name)


@pytest.mark.parametrize("name", ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "MXFP4"])
def test_its_own_quantizers(tmp_path, name):
    w = np.random.default_rng(1).normal(size=(OUT, IN)).astype(np.float32)
    w[2] = 0  # blocks without a step
    packed = gguf.quants.quantize(w, kind_of(name))
    write(tmp_path / "m.gguf", {NAME: (packed, kind_of(name))})
    check(tmp_path / "m.gguf", packed, name)


@pytest.mark.parametrize("name", list(BLOCKS))
def test_any_bytes(tmp_path, name):
    rng = np.random.default_rng(2)
    block, size = gguf.GGML_QUANT_SIZES[kind_of(name)]
    assert size == BLOCKS[name][1]
    raw = rng.integers(0, 256, (OUT, IN // block, size), dtype=np.uint8)
    halves = {"Q4_1": (0, 2), "Q5_1": (0, 2), "Q4_K": (0, 2), "Q5_K": (0, 2), "Q6_K": (208,)}
    for at in halves.get(name, (0,)):
        step = rng.normal(size=raw.shape[:2]).astype(np.float16)  # of either sign
        raw[..., at : at + 2] = step[..., None].view(np.uint8)
    if name == "MXFP4":
        raw[..., 0] = rng.integers(110, 130, raw.shape[:2])
    raw[0, 0] = 0
    packed = raw.reshape(OUT, -1)
    write(tmp_path / "m.gguf", {NAME: (packed, kind_of(name))})
    check(tmp_path / "m.gguf", packed, name)


def check(path, packed, name) -> None:
    theirs = gguf.quants.dequantize(packed, kind_of(name)).astype(float)
    checkpoint = open_checkpoint(path)
    assert checkpoint.names == [NAME.removesuffix(".weight")]
    assert checkpoint.find("model.layers.1.mlp.down_proj") == checkpoint.names[0]
    assert checkpoint.find("model.layers.1.mlp.up_proj") is None
    found = checkpoint.read(checkpoint.names[0])
    assert found.said == f"GGUF {name}" and found.values.shape == (OUT, IN)
    # Theirs is the same number in single precision.
    np.testing.assert_allclose(found.values, theirs, rtol=1e-5, atol=1e-6 * np.abs(theirs).max())
    grid = found.grid
    assert grid is not None and (grid.step > 0).all()
    np.testing.assert_allclose(
        grid.values(grid.codes(found.values)), found.values, rtol=1e-9, atol=1e-9
    )


def test_storage_is_what_the_file_takes(tmp_path):
    for name, bits in (
        ("Q4_0", 4.5),
        ("Q4_1", 5.0),
        ("Q8_0", 8.5),
        ("Q4_K", 4.5),
        ("Q6_K", 6.5625),
    ):
        block, size = gguf.GGML_QUANT_SIZES[kind_of(name)]
        assert size * 8 / block == bits
        raw = np.ones((OUT, IN // block * size), np.uint8)
        write(tmp_path / "m.gguf", {NAME: (raw, kind_of(name))})
        grid = open_checkpoint(tmp_path / "m.gguf").read("blk.1.ffn_down").grid
        assert grid is not None
        assert grid.bits_a_weight(IN, "stored") == pytest.approx(bits, abs=0.01)


def test_unquantized_and_unknown(tmp_path):
    w = np.random.default_rng(3).normal(size=(4, 256)).astype(np.float32)
    types = gguf.GGMLQuantizationType
    half = gguf.quants.quantize(w, types.BF16)
    write(tmp_path / "m.gguf", {
        "a.weight": (w, types.F32), "b.weight": (w.astype(np.float16), types.F16),
        "c.weight": (half, types.BF16), "one.weight": (w[0], types.F32),
        "d.weight": (np.zeros((4, 66), np.uint8), types.IQ2_XXS),
    })  # fmt: skip
    checkpoint = open_checkpoint(tmp_path / "m.gguf")
    assert checkpoint.names == ["a", "b", "c", "d"]
    assert np.array_equal(checkpoint.read("a").values, w)
    assert np.array_equal(checkpoint.read("b").values, w.astype(np.float16))
    assert np.array_equal(checkpoint.read("c").values, gguf.quants.dequantize(half, types.BF16))
    with pytest.raises(ProblemError, match="d is IQ2_XXS, which is not read"):
        checkpoint.read("d")


def test_files_that_are_refused(tmp_path):
    (tmp_path / "bad.gguf").write_bytes(b"GGUF and then nothing")
    for name, words in (("bad.gguf", "no readable GGUF"), ("none.gguf", "there is no file")):
        with pytest.raises(ProblemError, match=words):
            open_checkpoint(tmp_path / name)
