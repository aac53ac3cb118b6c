"""Networks by name. Nothing heavy is imported until a network is opened."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from layers.errors import SourceError
from layers.images.preprocessing import Preprocessing
from layers.networks.names import resolve_name

if TYPE_CHECKING:
    from layers.capture.collector import Collector

# Bundled name -> what it is; built in layers.networks.bundled.
BUNDLED_SOURCES = {
    "efficientnet-lite0": "EfficientNet-lite0, ImageNet (Apache-2.0)",
    "mobilenet-v2": "MobileNet-V2 without head (MIT)",
    "vit-s14": "ViT-S/14, DINOv2 layout, an ONNX graph (MIT)",
    "resnet18": "ResNet-18 backbone (licence unclear: used only when named)",
}
PREFIXES = {
    "torchvision:NAME": "a torchvision model, weights from its cache or NAME@CHECKPOINT",
    "timm:NAME": "a timm model, weights from its cache or NAME@CHECKPOINT",
    "onnx:FILE": "an ONNX graph",
    "MODULE:FUNCTION": "your own: a function that returns a torch module, or (module, "
    "preprocessing)",
}


class LayerInfo(NamedTuple):
    """A layer that can be captured: full name, ``conv2d`` or ``linear``, weight shape.

    The shape is (out, in / groups, kernel height, kernel width) or (out, in).
    """

    name: str
    kind: str
    shape: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Source(ABC):
    """A network with its preprocessing.

    Attributes:
        name: exactly as given to ``open_source``; dumps are filed under it.
        preprocessing: how an image becomes an input.
        licence: what is known about the licence of the weights.
    """

    name: str
    preprocessing: Preprocessing
    licence: str

    @abstractmethod
    def layers(self) -> list[LayerInfo]:
        """Every layer that can be captured, in the network's order."""

    @abstractmethod
    def fingerprint(self) -> str:
        """sha256 over structure and weights: equal for networks that compute the same."""

    @abstractmethod
    def runner(
        self, names: Sequence[str], collector: Collector
    ) -> AbstractContextManager[Callable[[np.ndarray], None]]:
        """A context whose value runs one input (3, height, width) through the network.

        While it is open, ``collector.observe`` is called for each of ``names``; afterwards the
        network is as before.
        """

    def resolve(self, wanted: str) -> str:
        """The full name of a layer given by name or unique suffix.

        Raises:
            CaptureError: unknown, ambiguous, or a kind of layer that is not supported.
        """
        return resolve_name(wanted, [layer.name for layer in self.layers()], self.name)


def source_names() -> dict[str, str]:
    """Every name ``open_source`` understands, with one line on each."""
    return BUNDLED_SOURCES | PREFIXES


def open_source(name: str, *, preprocessing: Preprocessing | None = None) -> Source:
    """Open a network by name.

    Args:
        name: ``efficientnet-lite0``, ``mobilenet-v2``, ``vit-s14``, ``resnet18``,
            ``torchvision:NAME``, ``timm:NAME`` (both also ``NAME@CHECKPOINT``, a safetensors or
            torch file), ``onnx:FILE``, or ``module:function`` for any function that returns an
            ``nn.Module``, or ``(nn.Module, preprocessing)`` with a ``Preprocessing`` or a
            function of a PIL image. Modules are also looked for in the working folder.
        preprocessing: instead of the network's own; own networks and ONNX graphs without one
            get ImageNet's mean and standard deviation.

    Raises:
        SourceError: unknown name (the message lists the names), missing package (it says what
            to install), unreadable checkpoint, or pickled code in one (refused).
    """
    if name in BUNDLED_SOURCES:
        from layers.networks.bundled import open_bundled

        return open_bundled(name, preprocessing)
    prefix, colon, rest = name.partition(":")
    if not colon or not prefix or not rest:
        raise SourceError(_unknown(name))
    if prefix == "onnx":
        from layers.networks.onnx_file import open_onnx

        return open_onnx(name, rest, preprocessing)
    from layers.networks import external

    if prefix == "torchvision":
        return external.open_torchvision(rest, preprocessing)
    if prefix == "timm":
        return external.open_timm(rest, preprocessing)
    return external.open_function(prefix, rest, preprocessing)


def _unknown(name: str) -> str:
    """The message for a name that is nothing we know."""
    close = get_close_matches(name, BUNDLED_SOURCES, n=1)
    guess = f"did you mean {close[0]!r}? " if close else ""
    known = "; ".join(f"{key} ({text})" for key, text in source_names().items())
    return f"unknown source {name!r}: {guess}known are: {known}"
