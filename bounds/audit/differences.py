"""The differences, in words and in numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bounds.problem.range import snr

Floats = NDArray[np.float64]

#: Relative excess over an interior-point solver's optimum that is not that solver's own accuracy.
OVERSTATED = 1e-5
#: What each difference is, by the name it has in tables: published against right.
DIFFERENCES = {
    "box": "SDP bound without the grid's box; with it",
    "solver value": "SCS's reported optimum as the bound; a verified one",
    "1-opt": "1-opt that ignores the box, then clipping; 1-opt inside the box",
    "smallest kept": "magnitude pruning keeps the smallest weights; the largest",
    "floored k": "floor(n b/16) weights are kept; interpolation between neighbours",
    "unfold, quantization": "inputs without stride and padding; as executed",
    "unfold, pruning": "the same, for pruning",
}


@dataclass(frozen=True)
class Comparison:
    """One difference on one chunk and bit width: what is published beside what is right.

    Attributes:
        difference: a key of ``DIFFERENCES``.
        source, layer, chunk, bits: where.
        published, right: (channels,) errors; of bounds where the difference is about a bound.
        energy, right_energy: (channels,) of the weights on either side's inputs.
        claims: channels for which the published side claims a bound, or a feasible solution;
        false: how many of these claims an attained error contradicts, or the box does.
        overstated: how many bounds exceed the relaxation's own optimum by over ``OVERSTATED``.
    """

    difference: str
    source: str
    layer: str
    chunk: int
    bits: int
    published: Floats
    right: Floats
    energy: Floats
    right_energy: Floats
    claims: int = 0
    false: int = 0
    overstated: int = 0

    @property
    def snr_published(self) -> float:
        """In dB, over all channels."""
        return snr(self.energy, np.maximum(self.published, 0.0))

    @property
    def snr_right(self) -> float:
        """In dB, over all channels."""
        return snr(self.right_energy, self.right)
