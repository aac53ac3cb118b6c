"""GPTQ and AWQ files, packed here from the formats' public description; no tool was run."""

from __future__ import annotations

import json

import numpy as np
import pytest

from bounds.errors import ProblemError
from bounds.gap.formats.checkpoint import open_checkpoint
from bounds.gap.formats.gptq import CLEAR
from tests.bounds.gap.formats.packed import save, words

OUT, IN, GROUP = 32, 64, 16


def quantized(bits: int, seed: int = 0, group_index: np.ndarray | None = None, out: int = OUT):
    """Codes (out, in), zero points and steps (groups, out), and the weights they mean."""
    rng = np.random.default_rng(seed)
    index = np.arange(IN) // GROUP if group_index is None else group_index
    groups = index.max() + 1
    half = 2 ** (bits - 1)
    codes = np.clip(np.rint(rng.normal(half, half / 3, (out, IN))), 0, 2**bits - 1).astype(np.int64)
    zeros = rng.integers(half - 1, half + 2, (groups, out))
    steps = (rng.random((groups, out)) + 0.5).astype(np.float16)
    w = (codes - zeros[index].T) * steps[index].T.astype(float)
    return codes, zeros, steps, w


def gptq(codes, zeros, steps, bits, less, index=None):
    found = {
        "a.b.qweight": words(codes, bits).T,
        "a.b.qzeros": words((zeros - less) & (2**bits - 1), bits),
        "a.b.scales": steps,
        "a.b.bias": np.zeros(OUT, np.float16),
    }
    return found if index is None else found | {"a.b.g_idx": index.astype(np.int32)}


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("version", [1, 2])
def test_gptq(tmp_path, bits, version):
    codes, zeros, steps, w = quantized(bits)
    save(tmp_path / "m.safetensors", gptq(codes, zeros, steps, bits, 2 - version))
    if bits > CLEAR:  # a step is too small to be seen in the mean
        kind = "gptq" if version == 1 else "gptq_v2"
        (tmp_path / "quantize_config.json").write_text(json.dumps({"checkpoint_format": kind}))
    checkpoint = open_checkpoint(tmp_path)
    assert checkpoint.names == ["a.b"] and checkpoint.find("model.a.b") == "a.b"
    found = checkpoint.read("a.b")
    assert np.array_equal(found.values, w) and found.said.startswith(f"GPTQ v{version}: uint{bits}")
    assert found.grid is not None and found.grid.group_size == GROUP and found.order is None
    assert np.array_equal(found.grid.values(found.grid.codes(np.asarray(w, float))), w)


def test_gptq_in_order_of_activation(tmp_path):
    index = np.random.default_rng(1).permutation(np.arange(IN) // GROUP)
    codes, zeros, steps, w = quantized(4, group_index=index)
    save(tmp_path / "m.safetensors", gptq(codes, zeros, steps, 4, 1, index))
    found = open_checkpoint(tmp_path / "m.safetensors").read("a.b")
    assert np.array_equal(found.values, w) and "act-order" in found.said
    assert found.order is not None and found.grid is not None
    assert (np.diff(index[found.order]) >= 0).all()
    assert found.grid.fits(np.asarray(w[:, found.order], float)).all()


@pytest.mark.parametrize(
    ("bits", "stored", "version"), [(8, 127, 1), (8, 128, 2), (4, 7, 1), (4, 8, 2)]
)
def test_the_middle_is_known_without_a_mean(tmp_path, bits, stored, version):
    codes, zeros, steps, _ = quantized(bits)
    zeros[:] = stored
    save(tmp_path / "m.safetensors", gptq(codes, zeros, steps, bits, 0))
    assert (
        open_checkpoint(tmp_path / "m.safetensors").read("a.b").said.startswith(f"GPTQ v{version}")
    )


def test_a_file_that_says_the_wrong_version(tmp_path):
    codes, zeros, steps, w = quantized(4)
    save(tmp_path / "m.safetensors", gptq(codes, zeros, steps, 4, 0))
    for name, config in (
        ("config.json", {"quantization_config": {"checkpoint_format": "gptq"}}),
        ("quantize_config.json", {"checkpoint_format": "gptq"}),
    ):
        (tmp_path / name).write_text(json.dumps(config))
        found = open_checkpoint(tmp_path).read("a.b")
        assert np.array_equal(found.values, w)
        assert "the file says v1, its zero points are those of v2" in found.said
        (tmp_path / name).unlink()


def test_zero_points_beyond_the_codes(tmp_path):
    """Version 1 adds one to what is stored, so that 16 can come out of four bits."""
    codes, zeros, steps, _ = quantized(4)
    zeros[0] = 16
    codes[:, :GROUP] = 15 - codes[:, :GROUP] // 8
    save(tmp_path / "m.safetensors", gptq(codes, zeros, steps, 4, 1))
    found = open_checkpoint(tmp_path / "m.safetensors").read("a.b")
    spread = np.repeat(zeros, GROUP, 0).T, np.repeat(steps, GROUP, 0).T.astype(float)
    assert np.array_equal(found.values, (codes - spread[0]) * spread[1])


def test_awq(tmp_path):
    codes, zeros, steps, w = quantized(4, 3)
    order = [0, 2, 4, 6, 1, 3, 5, 7]  # of outputs from the lowest nibble up

    def pack(table):
        eight = table.reshape(len(table), -1, 8)[:, :, order]
        return words(eight.reshape(len(table), -1), 4)

    save(
        tmp_path / "m.safetensors",
        {"l.qweight": pack(codes.T), "l.qzeros": pack(zeros), "l.scales": steps},
    )
    found = open_checkpoint(tmp_path / "m.safetensors").read("l")
    assert np.array_equal(found.values, w) and found.said.startswith("AWQ: uint4 in groups of 16")
    assert found.grid is not None and found.grid.fits(np.asarray(w, float)).all()


def test_files_that_contradict_themselves(tmp_path):
    codes, zeros, steps, _ = quantized(4)
    tensors = gptq(codes, zeros, steps, 4, 1, np.arange(3 * IN) // GROUP)
    save(tmp_path / "m.safetensors", tensors)
    with pytest.raises(ProblemError, match="192 codes of 4 bits need 24 words"):
        open_checkpoint(tmp_path / "m.safetensors").read("a.b")
    with pytest.raises(ProblemError, match=r"no layer 'c'; it has a\.b"):
        open_checkpoint(tmp_path / "m.safetensors").read("c")
