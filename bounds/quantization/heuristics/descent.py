"""Coordinate descent on the codes, inside the box, with pair moves.

From given codes, move one code to its best integer, or two codes by one step each, as long as the
error falls. The end point is optimal against all single and paired unit moves (a 2-opt point).
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MAX_ROUNDS = 1000  # a guard: descent ends by itself, each move lowering the error
IMPROVEMENT = 1e-12  # relative to the diagonal: keeps rounding from cycling


@njit(cache=True, nogil=True)
def shift_code(gram: Floats, codes: Floats, gradient: Floats, i: int, step: float) -> None:
    """Move code ``i`` by ``step`` and keep ``gradient = gram (codes - target)``."""
    codes[i] += step
    for j in range(codes.shape[0]):
        gradient[j] += gram[i, j] * step


@njit(cache=True, nogil=True)
def single_moves(gram: Floats, codes: Floats, gradient: Floats, lo: float, hi: float) -> None:
    """Move single codes until none improves."""
    n = codes.shape[0]
    for _ in range(MAX_ROUNDS):
        moved = False
        for i in range(n):
            best = min(max(np.rint(codes[i] - gradient[i] / gram[i, i]), lo), hi)
            step = best - codes[i]
            gain = -step * (2.0 * gradient[i] + step * gram[i, i])
            if step != 0.0 and gain > IMPROVEMENT * gram[i, i]:
                shift_code(gram, codes, gradient, i, step)
                moved = True
        if not moved:
            return


@njit(cache=True, nogil=True)
def pair_move(gram: Floats, codes: Floats, gradient: Floats, lo: float, hi: float) -> bool:
    """Apply the best move of two codes by one step each; False if none improves."""
    n = codes.shape[0]
    best_gain, best_i, best_j, best_a, best_b = 0.0, -1, -1, 0.0, 0.0
    for i in range(n):
        for a in (-1.0, 1.0):
            if not lo <= codes[i] + a <= hi:
                continue
            change_i = a * (2.0 * gradient[i] + a * gram[i, i])
            for j in range(i + 1, n):
                slope = 2.0 * (gradient[j] + a * gram[i, j])
                b = -1.0 if slope > 0.0 else 1.0
                if not lo <= codes[j] + b <= hi:
                    continue
                gain = -(change_i + b * slope + gram[j, j])
                if gain > best_gain:
                    best_gain, best_i, best_j, best_a, best_b = gain, i, j, a, b
    if best_i < 0 or best_gain <= IMPROVEMENT * (gram[best_i, best_i] + gram[best_j, best_j]):
        return False
    shift_code(gram, codes, gradient, best_i, best_a)
    shift_code(gram, codes, gradient, best_j, best_b)
    return True


@njit(cache=True, nogil=True)
def descend(gram: Floats, target: Floats, codes: Floats, lo: float, hi: float) -> float:
    """Descend from ``codes`` (n,) in place; returns the error ``(z-u)^T H (z-u)`` reached."""
    gradient = gram @ (codes - target)
    for _ in range(MAX_ROUNDS):
        single_moves(gram, codes, gradient, lo, hi)
        if not pair_move(gram, codes, gradient, lo, hi):
            break
    difference = codes - target
    return np.dot(difference, gram @ difference)


@njit(cache=True, nogil=True)
def descend_from(gram: Floats, targets: Floats, starts: Floats, lo: float, hi: float) -> Floats:
    """Best descent of each channel over several starts.

    Args: gram (n, n); targets (channels, n); starts (kinds, channels, n) codes inside the box.
    Returns: codes (channels, n) as floats.
    """
    kinds, channels, n = starts.shape
    out = np.empty((channels, n))
    for c in range(channels):
        best = np.inf
        for k in range(kinds):
            codes = starts[k, c].copy()
            error = descend(gram, targets[c], codes, lo, hi)
            if error < best:
                best = error
                out[c] = codes
    return out
