"""Learned step size quantization of weights, as a parametrization of a layer.

Esser et al., *Learned Step Size Quantization*, ICLR 2020 (arXiv 1902.08153): the forward pass uses
``step * clip(round(weight / step))``; rounding passes the gradient straight through, and the step
has a gradient of its own, scaled so that its updates are in proportion to those of the weights.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from layers.errors import FinetuneError

LINE_SEARCH_POINTS = 100
STEPS = ("tensor", "channel")
#: A step never falls below this share of what it began as: at zero it would divide by zero.
LEAST_SHARE = 1e-3


def code_range(bits: int) -> tuple[int, int]:
    """Smallest and largest signed code, -2^(b-1) and 2^(b-1)-1.

    Raises:
        FinetuneError: fewer than 2 bits, whose largest code is 0, or more than 16.
    """
    if isinstance(bits, bool) or not isinstance(bits, int) or not 2 <= bits <= 16:
        raise FinetuneError(f"bits must be a whole number from 2 to 16, got {bits!r}")
    return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1


class Quantized(torch.autograd.Function):
    """``step * clip(round(weight / step), lo, hi)``, with the gradients of Esser et al., eq. 3, 5.

    A function of its own, so that what comes out is code times step to the last bit.
    """

    @staticmethod
    def forward(
        ctx: Any, weight: Tensor, step: Tensor, lo: int, hi: int, gradient_scale: float
    ) -> Tensor:
        """``step`` broadcasts against ``weight``."""
        ratio = weight / step
        codes = ratio.round().clamp(lo, hi)
        ctx.save_for_backward(ratio, codes)
        ctx.step_shape, ctx.range, ctx.gradient_scale = step.shape, (lo, hi), gradient_scale
        return codes * step

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of weight and step; the latter times ``gradient_scale``."""
        (gradient,) = gradients
        ratio, codes = ctx.saved_tensors
        lo, hi = ctx.range
        inside = (ratio > lo) & (ratio < hi)
        by_step = gradient * torch.where(inside, codes - ratio, codes)
        of_step = by_step.sum_to_size(ctx.step_shape) * ctx.gradient_scale
        return gradient * inside, of_step, None, None, None


class LearnedStep(nn.Module):
    """The parametrization: keeps the step, gives the quantized weight.

    Attributes:
        step: (1, 1, ...) or (channels, 1, ...), a parameter.
        gradient_scale: ``1 / sqrt(n q_max)``, n weights to a step, q_max the largest code.
    """

    least: Tensor

    def __init__(self, weight: Tensor, bits: int, per: str = "tensor") -> None:
        """Begin with the step of the smallest squared weight error.

        Args:
            weight: (channels, ...).
            bits: 2 to 16.
            per: ``"tensor"`` or ``"channel"``.

        Raises:
            FinetuneError: bits out of range, or another ``per``.
        """
        super().__init__()
        self.lo, self.hi = code_range(bits)
        if per not in STEPS:
            raise FinetuneError(f"step must be one of {', '.join(STEPS)}, got {per!r}")
        rows = weight.detach().reshape(len(weight), -1)
        rows = rows if per == "channel" else rows.reshape(1, -1)
        steps = torch.tensor([mse_step(row, bits) for row in rows], dtype=torch.float64)
        shape = (len(rows),) + (1,) * (weight.dim() - 1)
        self.step = nn.Parameter(steps.to(weight.device, weight.dtype).reshape(shape))
        self.gradient_scale = 1 / math.sqrt(rows.shape[1] * self.hi)
        self.register_buffer("least", LEAST_SHARE * self.step.detach())

    def forward(self, weight: Tensor) -> Tensor:
        """The weight on its grid."""
        quantized = Quantized.apply(weight, self.step, self.lo, self.hi, self.gradient_scale)
        assert isinstance(quantized, Tensor)
        return quantized

    @torch.no_grad()
    def confine(self) -> None:
        """Keep the step positive, after an update."""
        self.step.copy_(torch.maximum(self.step, self.least))


def mse_step(weights: Tensor, bits: int) -> float:
    """The best of 100 steps in squared weight error, as studies choose it; 1 for zeros.

    Args:
        weights: any shape.
        bits: 2 to 16.
    """
    lo, hi = code_range(bits)
    values = weights.detach().to("cpu", torch.float64).reshape(-1)
    widest = max(float(values.min()) / lo, float(values.max()) / hi)
    if widest < torch.finfo(torch.float64).tiny * LINE_SEARCH_POINTS:
        return 1.0
    points = torch.arange(1, LINE_SEARCH_POINTS + 1, dtype=torch.float64)
    candidates = widest * points / LINE_SEARCH_POINTS
    losses = [
        float((step * (values / step).round().clamp(lo, hi) - values).square().sum())
        for step in candidates
    ]
    return float(candidates[losses.index(min(losses))])
