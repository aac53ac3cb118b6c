"""Round to nearest, and GPTQ: successive rounding with the remaining weights re-optimised."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: Share of the mean diagonal added to the Gram before factoring, as in GPTQ's released code.
GPTQ_DAMPING = 0.01
#: Inputs from which columns are rounded in blocks: matrix products, but other rounding of sums.
WIDE = 512
BLOCK = 128


def round_to_nearest(targets: Floats, lo: int, hi: int) -> Floats:
    """Codes nearest to ``targets = w / s`` (channels, n), clipped to the box."""
    return np.clip(np.rint(targets), lo, hi)


@njit(cache=True, nogil=True)
def successive_rounding(factor: Floats, targets: Floats, lo: float, hi: float) -> Floats:
    """Babai's nearest plane, clipped: fix codes from the last column of ``factor`` to the first.

    Args: factor (n, n) upper triangular with ``factor^T factor = H``; targets (channels, n).
    Each code is the clipped rounding of its conditional minimiser given the codes fixed before.
    """
    channels, n = targets.shape
    codes = np.empty((channels, n))
    for c in range(channels):
        for i in range(n - 1, -1, -1):
            pull = 0.0
            for j in range(i + 1, n):
                pull += factor[i, j] * (codes[c, j] - targets[c, j])
            codes[c, i] = min(max(np.rint(targets[c, i] - pull / factor[i, i]), lo), hi)
    return codes


@njit(cache=True, nogil=True)
def _round_block(
    factor: Floats, targets: Floats, pull: Floats, lo: float, hi: float, codes: Floats
) -> None:
    """Successive rounding inside one block; ``pull`` (channels, block) of what is fixed already."""
    channels, n = targets.shape
    for c in range(channels):
        for i in range(n - 1, -1, -1):
            total = pull[c, i]
            for j in range(i + 1, n):
                total += factor[i, j] * (codes[c, j] - targets[c, j])
            codes[c, i] = min(max(np.rint(targets[c, i] - total / factor[i, i]), lo), hi)


def blocked_rounding(factor: Floats, targets: Floats, lo: int, hi: int) -> Floats:
    """``successive_rounding`` in blocks of columns: O(n^2) a channel, nearly all in products.

    GPTQ's lazy batch updates (Frantar et al., 2023, Section 3.3), with the rows of the factor
    instead of the inverse. Sums are grouped otherwise, so a tie may fall the other way.
    """
    n = targets.shape[1]
    codes = np.zeros_like(targets)
    moved = np.zeros_like(targets)
    for stop in range(n, 0, -BLOCK):
        here = slice(max(stop - BLOCK, 0), stop)
        pull = moved[:, stop:] @ factor[here, stop:].T
        part = np.empty(pull.shape)
        block = np.ascontiguousarray(targets[:, here])
        _round_block(np.ascontiguousarray(factor[here, here]), block, pull, lo, hi, part)
        codes[:, here] = part
        moved[:, here] = part - block
    return codes


def gptq(gram: Floats, targets: Floats, lo: int, hi: int, damping: float = GPTQ_DAMPING) -> Floats:
    """GPTQ codes (channels, n) with activation order (Frantar et al., 2023; equals Babai's plane).

    Columns are quantized from the largest Gram diagonal to the smallest, on the damped Gram.
    """
    order = np.argsort(np.diag(gram), kind="stable")  # the last column is rounded first
    damped = gram[np.ix_(order, order)] + damping * np.diag(gram).mean() * np.eye(len(gram))
    factor = np.ascontiguousarray(np.linalg.cholesky(damped).T)
    rounding = successive_rounding if len(gram) < WIDE else blocked_rounding
    rounded = rounding(factor, np.ascontiguousarray(targets[:, order]), lo, hi)
    codes = np.empty_like(rounded)
    codes[:, order] = rounded
    return codes
