"""Convolution and linear inputs as rows, so that output = rows @ weights^T.

Rows are those of the convolution as executed: stride, padding, dilation and groups included.
Column order is that of ``weight.reshape(out_channels, -1)``: input channel, kernel row, kernel
column.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

from layers.dump.geometry import Geometry
from layers.errors import CaptureError

# Doubles in one block of rows (16 MiB); fixed, because it decides the order of summation.
BLOCK_ELEMENTS = 2**21


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
