"""Linear centred kernel alignment, unbiased and by minibatches.

Kornblith et al. 2019 (arXiv 1905.00414) for CKA; Nguyen, Raghu, Kornblith 2021 (arXiv 2010.15327),
eq. 3 and 4, for the sum of the unbiased HSIC_1 of Song et al. 2012 over minibatches, whose
expectation does not depend on their size.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from layers.errors import FinetuneError

SMALLEST_BATCH = 4


def hsic(x: Tensor, y: Tensor) -> float:
    """HSIC_1 of two sets of features of the same examples, with linear kernels.

    Args:
        x, y: (examples, features), at least 4 examples; features may differ in number.

    Raises:
        FinetuneError: fewer examples, or not the same number.
    """
    count = len(x)
    if count < SMALLEST_BATCH or len(y) != count:
        raise FinetuneError(
            f"CKA needs the same examples on both sides, {SMALLEST_BATCH} or more in a batch; "
            f"got {count} and {len(y)}"
        )
    return _hsic(_kernel(x), _kernel(y))


def _kernel(x: Tensor) -> Tensor:
    flat = x.detach().reshape(len(x), -1).to(torch.float64)
    # The estimator is blind to a common shift; without one, less is lost to rounding.
    flat = flat - flat.mean(dim=0)
    return (flat @ flat.T).fill_diagonal_(0.0)


def _hsic(k: Tensor, m: Tensor) -> float:
    n = len(k)
    trace = (k * m).sum()
    sums = k.sum() * m.sum() / ((n - 1) * (n - 2))
    cross = k.sum(dim=0) @ m.sum(dim=0) * 2 / (n - 2)
    return float((trace + sums - cross) / (n * (n - 3)))


class Cka:
    """CKA of two representations, batch after batch."""

    def __init__(self) -> None:
        """Start from nothing."""
        self.cross = self.first = self.second = 0.0

    def add(self, x: Tensor, y: Tensor) -> None:
        """Add the features (examples, ...) of the same batch in both networks.

        Raises:
            FinetuneError: as ``hsic``.
        """
        self.cross += hsic(x, y)
        self.first += hsic(x, x)
        self.second += hsic(y, y)

    @property
    def value(self) -> float:
        """1 for equal representations, about 0 for unrelated ones; NaN for a constant one."""
        square = self.first * self.second
        # A constant representation has HSIC 0; the unbiased estimate may fall below.
        return self.cross / math.sqrt(square) if min(self.first, self.second) > 0 else math.nan
