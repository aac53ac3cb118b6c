"""Weights of anybody's tool: the files that are read, and what is said of the others."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_torch

from bounds.errors import ProblemError
from bounds.gap.files import read_weights

SHAPES = [(4, 6), (4, 6, 1, 1)]
WEIGHTS = np.arange(24, dtype=np.float32).reshape(4, 6) / 8


def test_numpy(tmp_path):
    np.save(tmp_path / "w.npy", WEIGHTS.reshape(4, 6, 1, 1))
    found = read_weights(tmp_path / "w.npy", SHAPES)
    assert (found.values == WEIGHTS).all() and found.values.shape == (4, 6)
    assert found.values.dtype == np.float32 and found.accuracy == np.finfo(np.float32).eps


def test_the_only_tensor_that_fits_is_taken(tmp_path):
    tensors = {"a": np.zeros((3, 3), np.float32), "b": WEIGHTS.astype(np.float16)}
    np.savez(tmp_path / "w.npz", **tensors)
    save_file(tensors, tmp_path / "w.safetensors")
    for name in ("w.npz", "w.safetensors"):
        found = read_weights(tmp_path / name, SHAPES)
        assert (found.values == WEIGHTS).all() and found.accuracy == 2.0**-10
        with pytest.raises(ProblemError, match=r"w\.\w+ a has shape \(3, 3\), .* \(4, 6\) or"):
            read_weights(tmp_path / name, SHAPES, "a")
        with pytest.raises(ProblemError, match="no tensor 'c'; it has a, b"):
            read_weights(tmp_path / name, SHAPES, "c")


def test_numbers_that_numpy_does_not_have(tmp_path):
    """Widened without loss, and known to be no more precise than they were."""
    for kind in (torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2):
        narrow = torch.tensor(WEIGHTS).to(kind)
        save_torch({"w": narrow}, tmp_path / "w.safetensors")
        found = read_weights(tmp_path / "w.safetensors", SHAPES)
        assert (found.values == narrow.float().numpy()).all()
        assert found.accuracy == torch.finfo(kind).eps


def test_files_of_torch(tmp_path):
    narrow = torch.tensor(WEIGHTS).bfloat16()
    for wrapped in ({"w": narrow}, {"state_dict": {"module.w": narrow}, "step": 3}, narrow):
        torch.save(wrapped, tmp_path / "w.pt")
        found = read_weights(tmp_path / "w.pt", SHAPES)
        assert (found.values == WEIGHTS).all() and found.accuracy == 2.0**-7


def test_several_that_fit_have_to_be_named(tmp_path):
    save_file({f"layer{i}.weight": WEIGHTS for i in range(12)}, tmp_path / "w.safetensors")
    with pytest.raises(ProblemError, match=r"12 of them fit .* --tensor: layer0.weight, layer1"):
        read_weights(tmp_path / "w.safetensors", SHAPES)
    found = read_weights(tmp_path / "w.safetensors", SHAPES, "layer3.weight")
    assert (found.values == WEIGHTS).all()


def test_none_that_fits_lists_what_is_there(tmp_path):
    np.savez(tmp_path / "w.npz", a=np.zeros(2), b=np.zeros(3))
    with pytest.raises(ProblemError, match=r"none of them fits .* a, b"):
        read_weights(tmp_path / "w.npz", SHAPES)
    np.savez(tmp_path / "none.npz")
    with pytest.raises(ProblemError, match="0 tensors"):
        read_weights(tmp_path / "none.npz", SHAPES)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((6, 4)), r"shape \(6, 4\), the layer has \(4, 6\)"),
        (WEIGHTS.astype(np.int8), "int8, not real numbers; give dequantized"),
        (WEIGHTS + 1j, "complex"),
        (np.where(WEIGHTS == 1, np.nan, WEIGHTS), r"NaN or infinite entry at \(1, 2\)"),
        (np.array([[None]]), "without pickle"),
    ],
)
def test_arrays_that_are_refused(tmp_path, array, message):
    np.save(tmp_path / "w.npy", array, allow_pickle=True)
    with pytest.raises(ProblemError, match=message):
        read_weights(tmp_path / "w.npy", SHAPES)


def test_files_that_are_refused(tmp_path):
    with pytest.raises(ProblemError, match=r"there is no file .*none.npy"):
        read_weights(tmp_path / "none.npy", SHAPES)
    (tmp_path / "w.pkl").write_bytes(b"")
    with pytest.raises(ProblemError, match=r"w.pkl .* give .safetensors, .npy, .npz, .pt"):
        read_weights(tmp_path / "w.pkl", SHAPES)
    torch.save({"w": np.float64}, tmp_path / "code.pt")
    with pytest.raises(ProblemError, match="without pickle"):
        read_weights(tmp_path / "code.pt", SHAPES)
    for suffix in (".safetensors", ".npy", ".npz", ".pt"):
        for number, content in enumerate((b"", b"nothing", b"PK\x03\x04 and then nothing")):
            path = tmp_path / f"bad{number}{suffix}"
            path.write_bytes(content)
            with pytest.raises(ProblemError, match="cannot be read"):
                read_weights(path, SHAPES)


def test_a_damaged_archive_is_refused(tmp_path):
    path = tmp_path / "w.npz"
    np.savez(path, w=np.random.default_rng(0).normal(size=(40, 40)))
    data = bytearray(path.read_bytes())
    data[1000] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(ProblemError, match="cannot be read"):
        read_weights(path, [(40, 40)])
