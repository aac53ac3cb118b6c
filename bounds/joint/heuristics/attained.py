"""Weights of the methods without proof, all channels: reduced values (channels, m)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bounds.joint.heuristics.descent import descend
from bounds.joint.heuristics.rounding import drop_cheapest, round_all, round_in_turn
from bounds.joint.levelled import Levelled
from bounds.joint.relaxation.verified import rows_of
from bounds.pruning.heuristics import selection
from bounds.pruning.reduced import Mask
from bounds.pruning.refit import refit

Floats = NDArray[np.float64]

#: Share of the mean diagonal added to the Gram before rounding, as GPTQ does.
DAMPING = 0.01


def _masks(levelled: Levelled) -> Mask:
    reduced = levelled.reduced
    if reduced.capacity.sum() >= reduced.size:
        return np.ones((reduced.channels, reduced.size), bool)
    return selection.backward(reduced)


def prune_quantize(levelled: Levelled) -> Floats:
    """OBS, least squares, then every weight to its nearest value."""
    masks = _masks(levelled)
    fitted = refit(levelled.reduced, masks)
    return np.array(
        [round_all(levelled.points(c), fitted[c], masks[c]) for c in range(levelled.channels)]
    )


def quantize_prune(levelled: Levelled, damping: float = DAMPING) -> Floats:
    """GPTQ over all inputs, then the values that cost least set to zero."""
    reduced = levelled.reduced
    every = np.ones(reduced.size, bool)
    out = np.empty(reduced.weights.shape)
    for c, w in enumerate(reduced.weights):
        v = round_in_turn(reduced.gram, w, levelled.points(c), every, damping)
        drop_cheapest(reduced.gram, w, v, reduced.group, reduced.capacity)
        out[c] = v
    return out


def obr(levelled: Levelled, damping: float = DAMPING) -> Floats:
    """OBS, then the kept weights rounded in turn, both errors compensated."""
    masks, reduced = _masks(levelled), levelled.reduced
    return np.array(
        [
            round_in_turn(reduced.gram, w, levelled.points(c), masks[c], damping)
            for c, w in enumerate(reduced.weights)
        ]
    )


def descent(levelled: Levelled) -> Floats:
    """The best end point of descent from the other methods' weights, undamped ones too."""
    starts = (
        prune_quantize(levelled),
        quantize_prune(levelled, 0.0),
        obr(levelled),
        obr(levelled, 0.0),
    )
    out = np.empty_like(starts[0])
    for c in range(levelled.channels):
        rows, best = rows_of(levelled, c), np.inf
        for some in starts:
            v = some[c].copy()
            error = descend(rows, v)
            if error < best:
                out[c], best = v, error
    return out
