"""Weights as they are, in fp64, fp32, fp16 or bf16: dequantized, pruned, or untouched."""

from __future__ import annotations

import numpy as np

from bounds.gap.formats.tensors import Tensors
from bounds.gap.formats.weights import Weights

_NAMES = {2.0**-52: "fp64", 2.0**-23: "fp32", 2.0**-10: "fp16", 2.0**-7: "bf16"}
#: Attention of torch names its joint projection so.
_JOINT = "in_proj_weight"


def layers(tensors: Tensors) -> list[str]:
    """Names of all tensors of two dimensions and more that may be weights of a layer."""
    found = []
    for name, shape in tensors.shapes.items():
        if len(shape) >= 2 and (name.endswith((".weight", _JOINT)) or "." not in name):
            found.append(_layer(name))
    return found


def tensor_of(tensors: Tensors, layer: str) -> str:
    """The tensor of a layer's name."""
    names = (f"{layer}.weight", f"{layer}_weight", layer)
    return next((name for name in names if name in tensors), layer)


def read(tensors: Tensors, name: str) -> Weights:
    """One layer, of which the file does not say whether it is on a grid.

    Raises:
        ProblemError: no real numbers.
    """
    stored = tensors.stored(tensor_of(tensors, name))
    kind = _NAMES.get(stored.accuracy, "plain")
    return Weights(name, np.asarray(stored.values, np.float64), stored.accuracy, said=kind)


def _layer(tensor: str) -> str:
    return (
        tensor.removesuffix("_weight")
        if tensor.endswith(_JOINT)
        else tensor.removesuffix(".weight")
    )
