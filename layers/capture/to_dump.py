"""Captured layers as dumps: who saw what, with which packages."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from layers.capture.collector import CapturedLayer
from layers.dump.layer import LayerDump
from layers.dump.layout import PLAIN

RECORDED_PACKAGES = (
    *("layerbounds", "torch", "numpy", "pillow", "safetensors", "onnxruntime", "transformers"),
)
#: In the recipe of dumps whose weights the network stores otherwise, see ``layers.dump.layout``.
LAYOUT = "layout"


def to_dump(source: str, layer: CapturedLayer, parts: Any, recipe: Mapping[str, str]) -> LayerDump:
    """The dump of a layer.

    Args:
        source: the network's name.
        layer: as captured.
        parts: the ``Calibration`` or ``Batches`` it saw.
        recipe: what decided the numbers.
    """
    geometry = layer.geometry
    if geometry.layout != PLAIN:
        recipe = {**recipe, LAYOUT: geometry.layout}
    return LayerDump(
        source=source,
        layer=layer.name,
        kind=geometry.kind,
        weights=layer.weights,
        gram_blocks=layer.gram_blocks,
        heldout_blocks=layer.heldout_blocks,
        rows=layer.rows,
        heldout_rows=layer.heldout_rows,
        weight_shape=geometry.weight_shape,
        stride=geometry.stride,
        padding=geometry.padding,
        dilation=geometry.dilation,
        groups=geometry.groups,
        block_width=layer.block_width,
        images=records(parts.images),
        heldout_images=records(parts.heldout),
        recipe=recipe,
        versions=versions(),
    )


def records(images: Sequence[Any]) -> tuple[tuple[str, str], ...]:
    """Name and hash of each image or batch."""
    return tuple((image.name, image.sha256) for image in images)


def versions() -> dict[str, str]:
    """Of Python and the packages whose arithmetic is in the numbers."""
    found = {"python": platform.python_version()}
    for package in RECORDED_PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
