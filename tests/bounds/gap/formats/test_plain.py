"""Plain weights, shards with their index, folders: what is found, and by which names."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from bounds.errors import ProblemError
from bounds.gap.formats.checkpoint import open_checkpoint
from tests.bounds.gap.formats.packed import save

W = np.arange(12, dtype=np.float32).reshape(3, 4) / 8


def test_every_precision(tmp_path):
    kinds = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
    tensors = {f"net.{kind}.weight": torch.tensor(W).to(dtype) for kind, dtype in kinds.items()}
    tensors |= {"net.norm.weight": torch.ones(4), "net.attn.in_proj_weight": torch.tensor(W)}
    save(tmp_path / "m.safetensors", tensors)
    torch.save(tensors, tmp_path / "m.pt")
    for name in ("m.safetensors", "m.pt"):
        found = open_checkpoint(tmp_path / name)
        assert set(found.names) == {"net.fp32", "net.fp16", "net.bf16", "net.attn.in_proj"}
        for kind in kinds:
            one = found.read(f"net.{kind}")
            assert np.array_equal(one.values, W) and one.said == kind and one.grid is None
        assert np.array_equal(found.read("net.attn.in_proj").values, W)
        assert found.find("bf16") == "net.bf16" and found.find("model.net.fp16") == "net.fp16"
    np.savez(tmp_path / "m.npz", allow_pickle=False, **{"a.weight": W, "b": W})
    assert open_checkpoint(tmp_path / "m.npz").names == ["a", "b"]


def test_shards(tmp_path):
    save(tmp_path / "model-1.safetensors", {"a.weight": W})
    save(tmp_path / "model-2.safetensors", {"b.weight": 2 * W})
    index = {"weight_map": {"a.weight": "model-1.safetensors", "b.weight": "model-2.safetensors"}}
    path = tmp_path / "model.safetensors.index.json"
    path.write_text(json.dumps(index))
    for where in (tmp_path, path):
        found = open_checkpoint(where)
        assert found.names == ["a", "b"] and np.array_equal(found.read("b").values, 2 * W)
    index["weight_map"]["c.weight"] = "../model-2.safetensors"
    path.write_text(json.dumps(index))
    with pytest.raises(ProblemError, match=r"lacks the tensor c\.weight that its index names"):
        open_checkpoint(tmp_path)
    index["weight_map"]["c.weight"] = "model-3.safetensors"
    path.write_text(json.dumps(index))
    with pytest.raises(ProblemError, match="shards that are not there: model-3"):
        open_checkpoint(tmp_path)
    path.write_text("{}")
    with pytest.raises(ProblemError, match="no index of shards"):
        open_checkpoint(tmp_path)
    path.unlink()
    assert open_checkpoint(tmp_path).names == ["a", "b"], "without an index, all files"


def test_what_holds_no_layer(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ProblemError, match="holds no weights"):
        open_checkpoint(tmp_path / "empty")
    save(tmp_path / "m.safetensors", {"bias": torch.zeros(3)})
    with pytest.raises(ProblemError, match="no tensor of two dimensions"):
        open_checkpoint(tmp_path / "m.safetensors")
    save(tmp_path / "n.safetensors", {"a.weight": torch.full((2, 2), torch.nan)})
    with pytest.raises(ProblemError, match="NaN"):
        open_checkpoint(tmp_path / "n.safetensors").read("a")
