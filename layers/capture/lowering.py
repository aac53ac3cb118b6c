"""Convolution and linear inputs as rows, so that output = rows @ weights^T.

Rows are those of the convolution as executed: stride, padding, dilation and groups included.
Column order is that of ``weight.reshape(out_channels, -1)``: input channel, kernel row, kernel
column.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor
from torch.nn import functional

from layers.errors import CaptureError

# Doubles in one block of rows (16 MiB); fixed, because it decides the order of summation.
BLOCK_ELEMENTS = 2**21


@dataclass(frozen=True)
class Geometry:
    """What a convolution or linear layer does to its input.

    Attributes:
        kind: ``conv2d`` or ``linear``.
        weight_shape: (out, in / groups, kernel height, kernel width) or (out, in).
        stride: (vertical, horizontal).
        padding: zeros added at (top, bottom, left, right) by the convolution itself; whatever a
            module adds before it (reflection, its own 'same') is part of the input already.
        dilation: (vertical, horizontal).
        groups: number of channel groups.
    """

    kind: str
    weight_shape: tuple[int, ...]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    @property
    def kernel_size(self) -> tuple[int, int]:
        """(height, width) of the kernel; (1, 1) for a linear layer."""
        return (self.weight_shape[2], self.weight_shape[3]) if self.kind == "conv2d" else (1, 1)

    @property
    def features(self) -> int:
        """Columns of a row in one group."""
        return prod(self.weight_shape[1:])

    def plain(self) -> Geometry:
        """The same kernel moved by one, without padding or dilation: not what the layer does.

        So the released code of Kuzmin et al. 2023 unfolds every convolution; for comparison.
        """
        return Geometry(self.kind, self.weight_shape, groups=self.groups)


def conv2d_geometry(
    weight_shape: tuple[int, ...],
    stride: int | tuple[int, ...] = 1,
    padding: str | int | tuple[int, ...] = 0,
    dilation: int | tuple[int, ...] = 1,
    groups: int = 1,
) -> Geometry:
    """The geometry of a call ``F.conv2d(x, weight, bias, stride, padding, dilation, groups)``.

    Args:
        weight_shape: (out, in / groups, kernel height, kernel width).
        stride: one number or a pair.
        padding: one number, a pair (vertical, horizontal), 'same' or 'valid'.
        dilation: one number or a pair.
        groups: number of channel groups.
    """
    dilated = _pair(dilation)
    if padding == "same":
        # As torch: an odd total puts the extra zero at the bottom and at the right.
        totals = [d * (k - 1) for d, k in zip(dilated, weight_shape[2:], strict=True)]
        (top, bottom), (left, right) = ((total // 2, total - total // 2) for total in totals)
    elif padding == "valid":
        top = bottom = left = right = 0
    elif isinstance(padding, str):
        raise CaptureError(f"unknown padding {padding!r}: expected 'same', 'valid' or numbers")
    else:
        top, left = _pair(padding)
        bottom, right = top, left
    return Geometry(
        "conv2d",
        tuple(weight_shape),
        _pair(stride),
        (top, bottom, left, right),
        dilated,
        groups,
    )


def lower(x: Tensor, geometry: Geometry) -> Iterator[Tensor]:
    """The rows a layer multiplies with its weights, in blocks of bounded size.

    Args:
        x: (..., in) for linear; (batch, in, height, width) or (in, height, width) for conv2d.
        geometry: of the layer.

    Yields:
        (groups, rows, features) float64 on the CPU; group g belongs to the g-th equal part of
        the output channels.

    Raises:
        CaptureError: the input does not fit the weights.
    """
    x = x.detach().cpu()
    return _lower_linear(x, geometry) if geometry.kind == "linear" else _lower_conv(x, geometry)


def _lower_linear(x: Tensor, geometry: Geometry) -> Iterator[Tensor]:
    width = geometry.features
    if x.shape[-1] != width:
        raise CaptureError(f"input {tuple(x.shape)} does not end in the layer's {width} features")
    for rows in x.reshape(-1, width).split(max(1, BLOCK_ELEMENTS // width)):
        yield rows.to(torch.float64).unsqueeze(0)


def _lower_conv(x: Tensor, geometry: Geometry) -> Iterator[Tensor]:
    _, per_group, kernel_h, kernel_w = geometry.weight_shape
    x = x.unsqueeze(0) if x.dim() == 3 else x
    if x.dim() != 4 or x.shape[1] != per_group * geometry.groups:
        raise CaptureError(
            f"input {tuple(x.shape)} does not fit {geometry.groups} groups of {per_group} channels"
        )
    top, bottom, left, right = geometry.padding
    if any(geometry.padding):
        x = functional.pad(x, (left, right, top, bottom))
    (step_h, step_w), (gap_h, gap_w) = geometry.stride, geometry.dilation
    batch, channels, height, width = x.shape
    out_h = (height - gap_h * (kernel_h - 1) - 1) // step_h + 1
    out_w = (width - gap_w * (kernel_w - 1) - 1) // step_w + 1
    if out_h < 1 or out_w < 1:
        raise CaptureError(f"input {tuple(x.shape)} is smaller than the dilated kernel")
    # A view, no copy: every window of the input, addressed through strides.
    to_batch, to_channel, to_row, to_col = x.stride()
    windows = x.as_strided(
        (batch, out_h, out_w, channels, kernel_h, kernel_w),
        (to_batch, to_row * step_h, to_col * step_w, to_channel, to_row * gap_h, to_col * gap_w),
    )
    lines = max(1, BLOCK_ELEMENTS // (out_w * channels * kernel_h * kernel_w))
    for image in windows:
        for block in image.split(lines):
            rows = block.to(torch.float64).reshape(-1, geometry.groups, geometry.features)
            yield rows.transpose(0, 1)


def _pair(value: int | tuple[int, ...]) -> tuple[int, int]:
    """One number or a pair, as a pair."""
    if isinstance(value, int):
        return value, value
    numbers = [int(number) for number in value]
    return (numbers[0], numbers[0]) if len(numbers) == 1 else (numbers[0], numbers[1])
