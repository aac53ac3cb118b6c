"""How weights lie in the network's own tensor, against the rows of a dump."""

from __future__ import annotations

from math import prod

import numpy as np

from layers.errors import DumpError

PLAIN = "plain"  # (out, ...), as torch's Linear and Conv2d hold them
TRANSPOSED = "transposed"  # (in, out): transformers' Conv1D
FLIPPED = "flipped"  # (in, out / groups, kernel): transposed convolutions
LAYOUTS = (PLAIN, TRANSPOSED, FLIPPED)


def to_rows(tensor: np.ndarray, layout: str, shape: tuple[int, ...], groups: int) -> np.ndarray:
    """The network's tensor as the rows (channels, n) of a dump.

    Args:
        tensor: weights as the network stores them.
        layout: one of ``LAYOUTS``.
        shape: ``weight_shape`` of the dump.
        groups: of the dump.

    Raises:
        DumpError: a tensor of another shape.
    """
    channels, features = shape[0], prod(shape[1:])
    expected = stored_shape(layout, shape, groups)
    # Sides of length one come and go: a Linear layer may be stored as a 1x1 convolution.
    if _sides(tensor.shape) != _sides(expected):
        raise DumpError(f"weights have shape {tensor.shape}, the layer has {expected}")
    if layout == PLAIN:
        return tensor.reshape(channels, features)
    if layout == TRANSPOSED:
        return np.ascontiguousarray(tensor.reshape(features, channels).T)
    _, per_group, *kernel = shape
    grouped = tensor.reshape(groups, per_group, channels // groups, *kernel).swapaxes(1, 2)
    return np.ascontiguousarray(grouped[..., ::-1, ::-1]).reshape(channels, features)


def stored_shape(layout: str, shape: tuple[int, ...], groups: int) -> tuple[int, ...]:
    """Shape of the network's tensor, sides of length one aside."""
    if layout == TRANSPOSED:
        return shape[::-1]
    if layout == FLIPPED:
        return (shape[1] * groups, shape[0] // groups, *shape[2:])
    return shape


def _sides(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(side for side in shape if side != 1)
