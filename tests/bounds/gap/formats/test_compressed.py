"""compressed-tensors: what its own package writes where it is installed, else packed here."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch

from bounds.errors import ProblemError
from bounds.gap.formats.checkpoint import open_checkpoint
from bounds.gap.formats.compressed import fp8_levels
from tests.bounds.gap.formats.packed import save, words

OUT, IN = 24, 96


def config(folder, **weights) -> None:
    scheme = {"config_groups": {"group_0": {"targets": ["Linear"], "weights": weights}}}
    (folder / "config.json").write_text(json.dumps({"quantization_config": scheme}))


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("size", [32, None])
def test_packed_here(tmp_path, bits, size):
    rng = np.random.default_rng(bits)
    half, groups = 2 ** (bits - 1), IN // (size or IN)
    codes = rng.integers(-half, half, (OUT, IN))
    zeros = rng.integers(-half, half, (OUT, groups))
    steps = torch.rand(OUT, groups).bfloat16() + 0.5
    w = (codes - np.repeat(zeros, size or IN, 1)) * np.repeat(steps.double().numpy(), size or IN, 1)
    save(
        tmp_path / "model.safetensors",
        {
            "q.weight_packed": words(codes + half, bits),
            "q.weight_scale": steps,
            "q.weight_zero_point": words((zeros + half).T, bits).T,
            "q.weight_shape": np.array([OUT, IN]),
        },
    )
    config(tmp_path, num_bits=bits, group_size=size, symmetric=False)
    found = open_checkpoint(tmp_path).read("q")
    assert np.array_equal(found.values, w) and found.grid is not None
    assert (
        found.grid.bits == bits
        and found.grid.group_size == size
        and found.grid.fits(np.asarray(w, float)).all()
    )


def test_three_bits_as_older_writers_had_them(tmp_path):
    codes = np.random.default_rng(0).integers(0, 8, (4, 40))
    rows = [
        [sum(int(c) << 3 * i for i, c in enumerate(r[k : k + 10])) for k in range(0, 40, 10)]
        for r in codes
    ]
    packed = np.array(rows, np.int64).astype(np.uint32).view(np.int32)
    # 40 codes of 3 bits are 4 words either way; 64 are 6 or 7.
    more = np.concatenate([codes, codes[:, :24]], 1)
    seven = [
        [sum(int(c) << 3 * i for i, c in enumerate(r[k : k + 10])) for k in range(0, 64, 10)]
        for r in more
    ]
    for w, table in ((more, np.array(seven, np.int64).astype(np.uint32).view(np.int32)),):
        assert packed.shape == (4, 4)
        save(tmp_path / "model.safetensors", {
            "q.weight_packed": table, "q.weight_scale": np.ones((4, 1), np.float32),
            "q.weight_shape": np.array(w.shape),
        })  # fmt: skip
        config(tmp_path, num_bits=3)
        assert np.array_equal(open_checkpoint(tmp_path).read("q").values, w - 4.0)


@pytest.mark.parametrize(("dtype", "exponent"), [(torch.float8_e4m3fn, 4), (torch.float8_e5m2, 5)])
def test_every_number_of_fp8(tmp_path, dtype, exponent):
    every = torch.arange(256, dtype=torch.uint8).view(dtype)
    finite = every[torch.isfinite(every.float())]
    assert np.array_equal(np.unique(finite.double().numpy()), fp8_levels(exponent))
    w = finite[: len(finite) // 2 * 2].reshape(2, -1)
    scale = torch.tensor([[0.5], [3.0]])
    save(tmp_path / "m.safetensors", {"q.weight": w, "q.weight_scale": scale})
    found = open_checkpoint(tmp_path / "m.safetensors").read("q")
    assert np.array_equal(found.values, w.double().numpy() * scale.double().numpy())
    assert (found.grid is None) == (exponent == 5) and "fp8" in found.said


def test_blocks_of_both_dimensions(tmp_path):
    w = torch.randn(6, 8).to(torch.float8_e4m3fn)
    scale = torch.rand(2, 2) + 0.5
    save(tmp_path / "model.safetensors", {"q.weight": w, "q.weight_scale": scale})
    config(tmp_path, num_bits=8, type="float", block_structure=[4, 5])
    spread = scale.double().repeat_interleave(4, 0)[:6].repeat_interleave(5, 1)[:, :8]
    assert np.array_equal(open_checkpoint(tmp_path).read("q").values, (w.double() * spread).numpy())


def test_sparse_bitmask(tmp_path):
    rng = np.random.default_rng(2)
    w = rng.normal(size=(5, 16)).astype(np.float16)
    mask = np.zeros((5, 16), bool)
    for row in mask:
        for k in range(0, 16, 4):
            row[k + rng.permutation(4)[:2]] = True
    save(tmp_path / "m.safetensors", {
        "q.compressed": w[mask].reshape(5, -1), "q.shape": np.array([[5], [16]]),
        "q.bitmask": np.packbits(mask, axis=-1, bitorder="little"),
    })  # fmt: skip
    found = open_checkpoint(tmp_path / "m.safetensors").read("q")
    assert np.array_equal(found.values, np.where(mask, w, 0)) and found.accuracy == 2.0**-10


def test_marlin_is_named(tmp_path):
    save(tmp_path / "m.safetensors", {
        "q.weight_packed": np.zeros((2, 2), np.int32), "q.weight_scale": np.ones(2, np.float32),
        "q.meta": np.zeros(3, np.int16),
    })  # fmt: skip
    with pytest.raises(ProblemError, match="Marlin"):
        open_checkpoint(tmp_path / "m.safetensors").read("q")


SCHEMES: list[tuple[str, dict[str, Any]]] = [
    ("pack-quantized", {"num_bits": 4, "strategy": "group", "group_size": 32}),
    ("pack-quantized", {"num_bits": 4, "strategy": "group", "group_size": 32, "symmetric": False}),
    ("pack-quantized", {"num_bits": 3, "strategy": "channel"}),
    ("int-quantized", {"num_bits": 8, "strategy": "channel"}),
    ("float-quantized", {"num_bits": 8, "type": "float", "strategy": "channel"}),
    (
        "nvfp4-pack-quantized",
        {"num_bits": 4, "type": "float", "strategy": "tensor_group", "group_size": 16},
    ),
    (
        "mxfp4-pack-quantized",
        {"num_bits": 4, "type": "float", "strategy": "group", "group_size": 32},
    ),
]


@pytest.mark.parametrize(("kind", "scheme"), SCHEMES, ids=[f"{k} {s}" for k, s in SCHEMES])
def test_what_the_package_itself_writes(tmp_path, kind, scheme):
    pytest.importorskip(
        "compressed_tensors", reason="the package compressed-tensors is not installed"
    )
    from compressed_tensors.compressors import (  # pyright: ignore[reportMissingImports]
        BaseCompressor,
    )
    from compressed_tensors.quantization import (  # pyright: ignore[reportMissingImports]
        QuantizationArgs,
        QuantizationScheme,
    )

    torch.manual_seed(1)
    w = torch.randn(OUT, IN)
    args = QuantizationArgs(**scheme)
    tool: Any = BaseCompressor.get_value_from_registry(kind)
    state: dict[str, torch.Tensor] = {"weight": w}
    size = scheme.get("group_size", IN)
    groups = w.reshape(OUT, -1, size)
    largest = groups.abs().amax(-1)
    top = {"int": 2 ** (args.num_bits - 1) - 0.5, "float": 6.0 if args.num_bits == 4 else 448.0}
    state["weight_scale"] = largest / top[str(getattr(args.type, "value", args.type))]
    if kind.startswith("nvfp4"):
        state["weight_global_scale"] = torch.tensor([448 * 6 / float(largest.max())])
        state["weight_scale"] = (
            (state["weight_scale"] * state["weight_global_scale"]).to(torch.float8_e4m3fn).float()
        )
    if kind.startswith("mxfp4"):
        state["weight_scale"] = torch.exp2(torch.ceil(torch.log2(state["weight_scale"])))
    if scheme.get("symmetric") is False:
        state["weight_scale"] = (groups.amax(-1) - groups.amin(-1)) / 15
        state["weight_zero_point"] = torch.round(-8 - groups.amin(-1) / state["weight_scale"]).to(
            torch.int8
        )
    whole = QuantizationScheme(targets=["Linear"], weights=args)
    written = tool.compress(state, whole)
    theirs = tool.decompress(written, whole)["weight"].double().numpy()
    save(tmp_path / "model.safetensors", {f"q.{name}": t for name, t in written.items()})
    config(tmp_path, **{k: v for k, v in scheme.items()})
    found = open_checkpoint(tmp_path).read("q")
    assert f"compressed-tensors {kind}" in found.said and found.grid is not None
    # Theirs is the same product, rounded to the precision they compute in (bf16 for FP4).
    loose = 2.0**-8 if kind.endswith("fp4-pack-quantized") else 1e-6
    np.testing.assert_allclose(found.values, theirs, rtol=loose, atol=1e-7)
    assert found.grid.fits(found.values).all()
    assert np.abs(found.values - w.double().numpy()).max() < 0.6
