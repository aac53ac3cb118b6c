"""Which modules can be captured, and how each is read as a convolution or a linear map.

A 1-d convolution is a 2-d one of height 1. A transposed convolution is a plain one of its input
with zeros between the pixels, by the kernel turned round. GPT-2's Conv1D is a linear map stored the
other way round. Neither what a module computes nor the error of its output is changed by that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.parameter import is_lazy

from layers.dump.geometry import Geometry, conv2d_geometry
from layers.dump.layout import FLIPPED, TRANSPOSED

#: Input and weights of a call as a plain convolution or linear map sees them.
Seen = tuple[Tensor, Tensor, Geometry]

CAPTURED = "Linear, Conv1d, Conv2d and their transposed forms"
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d)


def is_stored_transposed(module: nn.Module) -> bool:
    """Whether it is the Conv1D of transformers: ``x @ weight + bias``, weight (in, out)."""
    weight = getattr(module, "weight", None)
    named = type(module).__name__ == "Conv1D" and hasattr(module, "nf")
    return named and isinstance(weight, Tensor) and weight.dim() == 2


def layer_shape(module: nn.Module) -> tuple[str, tuple[int, ...]] | None:
    """Kind and weight shape as captured, or None if the module cannot be."""
    weight: Any = getattr(module, "weight", None)
    if is_stored_transposed(module):
        return "linear", (weight.shape[1], weight.shape[0])
    if not isinstance(module, (nn.Linear, *_CONVOLUTIONS, *_TRANSPOSED)) or is_lazy(weight):
        return None
    shape = tuple(weight.shape)
    if isinstance(module, nn.Linear):
        return "linear", shape
    if isinstance(module, _TRANSPOSED):
        first, second, *kernel = shape
        shape = (second * module.groups, first // module.groups, *kernel)
    return "conv2d", shape if len(shape) == 4 else (*shape[:2], 1, shape[2])


def attention_shape(module: nn.Module) -> tuple[int, ...] | None:
    """Shape of the joint input projection of torch's attention, None if it has no such."""
    weight = getattr(module, "in_proj_weight", None)
    own = isinstance(module, nn.MultiheadAttention) and isinstance(weight, Tensor)
    return tuple(weight.shape) if own and weight is not None else None


def why_not(module: nn.Module) -> str | None:
    """Why a module with weights of its own cannot be captured; None if it has none, or can be."""
    if layer_shape(module) is not None or attention_shape(module) is not None:
        return None
    own = [p for name, p in module.named_parameters(recurse=False) if "weight" in name]
    if isinstance(module, nn.Embedding | nn.EmbeddingBag):
        return "a table that is looked up, which has no inputs to lose accuracy on"
    if any(not is_lazy(p) and p.dim() >= 2 for p in own):
        return f"a {type(module).__name__}; only {CAPTURED} can be captured"
    return None


def _conv2d_call(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Seen:
    """Read the arguments of ``F.conv2d``, by position or by name."""
    shape = tuple(weight.shape)
    return input, weight, conv2d_geometry(shape, stride, padding, dilation, groups)


def _conv1d_call(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Seen:
    """``F.conv1d`` as a convolution of height 1."""
    pair = (1, _one(stride)), padding if isinstance(padding, str) else (0, _one(padding))
    wide = weight.unsqueeze(2)
    geometry = conv2d_geometry(tuple(wide.shape), *pair, (1, _one(dilation)), groups)
    return input.unsqueeze(-2), wide, geometry


def _linear_call(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Seen:
    """Read the arguments of ``F.linear``, by position or by name."""
    return input, weight, Geometry("linear", tuple(weight.shape))


def _addmm_call(input: Tensor, mat1: Tensor, mat2: Tensor, **_: Any) -> Seen:
    """``bias + x @ weight``."""
    weight = mat2.T
    return mat1, weight, Geometry("linear", tuple(weight.shape), layout=TRANSPOSED)


def _conv_transpose2d_call(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Seen:
    """``F.conv_transpose2d`` as a plain convolution: Dumoulin and Visin 2016, section 4."""
    steps, gaps = _two(stride), _two(dilation)
    pads, more = _two(padding), _two(output_padding)
    x = input if input.dim() == 4 else input.unsqueeze(0)
    batch, channels, height, width = x.shape
    apart = x.new_zeros((batch, channels, (height - 1) * steps[0] + 1, (width - 1) * steps[1] + 1))
    apart[:, :, :: steps[0], :: steps[1]] = x
    before = [g * (k - 1) - p for g, k, p in zip(gaps, weight.shape[2:], pads, strict=True)]
    # Negative where more is cut off than added; torch cuts.
    padded = functional.pad(apart, (before[1], before[1] + more[1], before[0], before[0] + more[0]))
    first, second, *kernel = weight.shape
    grouped = weight.reshape(groups, first // groups, second, *kernel).transpose(1, 2)
    turned = grouped.reshape(groups * second, first // groups, *kernel).flip(2, 3)
    geometry = Geometry("conv2d", tuple(turned.shape), dilation=gaps, groups=groups, layout=FLIPPED)
    return padded, turned, geometry


def _conv_transpose1d_call(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Seen:
    """``F.conv_transpose1d`` as one of height 1."""
    x = input if input.dim() == 3 else input.unsqueeze(0)
    return _conv_transpose2d_call(
        x.unsqueeze(2), weight.unsqueeze(2), None, (1, _one(stride)), (0, _one(padding)),
        (0, _one(output_padding)), groups, (1, _one(dilation)),
    )  # fmt: skip


#: The functions whose calls are layers; ``torch.addmm`` only inside transformers' Conv1D.
READERS: dict[Callable[..., Any], Callable[..., Seen]] = {
    functional.conv2d: _conv2d_call,
    functional.linear: _linear_call,
    functional.conv1d: _conv1d_call,
    functional.conv_transpose2d: _conv_transpose2d_call,
    functional.conv_transpose1d: _conv_transpose1d_call,
}


def reader(function: Any, module: nn.Module) -> Callable[..., Seen] | None:
    """How a call of ``function`` inside ``module`` is read, None if it is no layer's."""
    if function is torch.addmm and is_stored_transposed(module):
        return _addmm_call
    return READERS.get(function)


def _one(value: Any) -> int:
    return value if isinstance(value, int) else int(value[0])


def _two(value: Any) -> tuple[int, int]:
    if isinstance(value, int):
        return value, value
    numbers = [int(number) for number in value]
    return (numbers[0], numbers[0]) if len(numbers) == 1 else (numbers[0], numbers[1])
