"""Gradual magnitude pruning: a mask as a parametrization, and the schedule it shrinks by.

Zhu and Gupta, *To prune, or not to prune*, 2017 (arXiv 1710.01878), eq. 1, from no sparsity: fast
at first, when there is much to remove, slower and slower after.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from layers.errors import FinetuneError

SCOPES = ("layer", "global")


def sparsity_at(step: int, end: int, final: float) -> float:
    """Share of weights removed at a step: ``final (1 - (1 - step/end)^3)``, ``final`` from ``end``.

    Raises:
        FinetuneError: a final sparsity outside [0, 1).
    """
    if not 0 <= final < 1:
        raise FinetuneError(f"sparsity must be at least 0 and below 1, got {final!r}")
    if step >= end:
        return final
    return final * (1 - (1 - step / end) ** 3)


def is_due(step: int, end: int, updates: int) -> bool:
    """Whether masks shrink before this step: evenly, about ``updates`` times until ``end``."""
    return step <= end and (step == end or step % max(1, end // updates) == 0)


class Mask(nn.Module):
    """The parametrization: the weight where it is kept, 0 elsewhere.

    A removed weight has no gradient, so it is never chosen again: masks only shrink.
    """

    mask: Tensor

    def __init__(self, weight: Tensor) -> None:
        """Keep every weight."""
        super().__init__()
        self.register_buffer("mask", torch.ones_like(weight, dtype=torch.bool))

    def forward(self, weight: Tensor) -> Tensor:
        """The pruned weight."""
        return weight * self.mask


def kept_count(weights: int, sparsity: float) -> int:
    """Weights left of so many: the nearest whole number, at least one."""
    return max(1, round(weights * (1 - sparsity)))


@torch.no_grad()
def shrink(masks: Mapping[Mask, Tensor], sparsity: float, scope: str = "layer") -> None:
    """Keep the largest of the weights that are still kept.

    Args:
        masks: mask -> its layer's weight before masking.
        sparsity: share of removed weights, of every layer or of all together.
        scope: ``"layer"`` or ``"global"``; globally, every layer keeps its largest weight.

    Raises:
        FinetuneError: another scope.
    """
    if scope not in SCOPES:
        raise FinetuneError(f"scope must be one of {', '.join(SCOPES)}, got {scope!r}")
    scores = [
        torch.where(mask.mask, weight.abs(), -1.0).reshape(-1) for mask, weight in masks.items()
    ]
    if scope == "global":
        for score in scores:
            score[score.argmax()] = torch.inf
        kept = _largest(torch.cat(scores), sparsity).split([score.numel() for score in scores])
    else:
        kept = [_largest(score, sparsity) for score in scores]
    for mask, flat in zip(masks, kept, strict=True):
        mask.mask.copy_(flat.reshape(mask.mask.shape))


def _largest(scores: Tensor, sparsity: float) -> Tensor:
    """Which scores are among those kept; the earlier of two equal ones."""
    order = torch.sort(scores, descending=True, stable=True).indices
    kept = torch.zeros_like(scores, dtype=torch.bool)
    kept[order[: kept_count(scores.numel(), sparsity)]] = True
    return kept & (scores >= 0)
