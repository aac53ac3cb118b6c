"""The volume bound: what no quantizer can beat on average over where the grid lies.

Displace each channel's weights by ``s u``, ``u`` uniform in ``[-1/2, 1/2]^n``. The grid's cells
then tile space, so ``E exp(-lambda min err) <= s^-n int exp(-lambda e^T G e) de``, and over
independent channels Markov's inequality gives, for any ``lambda = 1/t`` fixed beforehand,

    sum err >= t (C/2 logdet G + sum log s - N/2 log(pi t) - log(1/failure))

with probability at least ``1 - failure`` (C channels, N = C n weights). It is the sphere bound of
lattice quantization (Zador 1982; Conway and Sloane, *Sphere Packings*, ch. 2) for one layer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bounds.errors import ProblemError
from bounds.linalg.verified import verified_factor
from bounds.problem.gram import check_problem
from bounds.problem.grid import check_scale, integer_range
from bounds.problem.range import snr

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class VolumeBound:
    """``lower``: on the sum of the channels' errors, 0.0 if none; ``energy``: (channels,).

    It holds for weights displaced by a random part of a step with probability ``1 - failure``,
    not for the weights given. ``rate``: the ``lambda`` used, in one over the unit of the energy.
    """

    lower: float
    energy: Floats
    failure: float
    rate: float
    status: str = "volume"

    @property
    def snr_bound(self) -> float:
        """In dB, against the energy of the weights as given."""
        return snr(self.energy, self.lower)

    @property
    def meaning(self) -> str:
        """One sentence to stand wherever the number is shown."""
        return (
            "Volume bound: weights displaced by a random part of a step exceed this SNR with "
            f"probability at most {self.failure:g}; it is no proof for these very weights."
        )


def volume_bound(
    gram: ArrayLike,
    weights: ArrayLike,
    *,
    scale: ArrayLike,
    bits: int | None = None,
    failure: float = 1e-9,
) -> VolumeBound:
    """The closed form: the grid without its ends, so it holds at any bit width.

    Args:
        gram: (n, n), raw sum over rows of ``X^T X``; weights: (channels, n).
        scale: the step, one for all channels or (channels,).
        bits: width of the codes; checked, but of no effect: the ends of the grid are left out.
        failure: probability with which the bound may fail, between 0 and 1.

    A Gram that is not verified positive definite gives 0.0: its unboxed grid has no volume bound.

    Raises:
        ProblemError: numbers that define no problem, or ``failure`` outside (0, 1).
    """
    if not 0 < failure < 1:
        raise ProblemError(f"failure must be between 0 and 1, got {failure!r}")
    if bits is not None:
        integer_range(bits)
    problem = check_problem(gram, weights)
    steps = check_scale(scale, problem.channels)
    live = problem.live
    if not live.any():
        return VolumeBound(0.0, problem.energy, failure, math.inf)
    factor = verified_factor(problem.gram[np.ix_(live, live)])
    if factor is None:
        return VolumeBound(0.0, problem.energy, failure, math.inf)
    features = int(live.sum())
    half = problem.channels / 2
    parts = [
        half * factor.logdet_lower(),
        features * math.fsum(np.log(steps)),
        math.log(failure),
    ]
    count = half * features  # N / 2
    # stationary in t; any t gives a valid bound, so its own rounding does not matter
    log_t = math.fsum(parts) / count - math.log(math.pi) - 1
    if not -700 < log_t < 700:
        return VolumeBound(0.0, problem.energy, failure, math.inf)
    t = math.exp(log_t)
    parts.append(-count * math.log(math.pi * t))
    # logarithms are accurate to a few units in the last place, each magnified by its factor
    slack = 2.0**-48 * (math.fsum(map(abs, parts)) + features * float(np.abs(np.log(steps)).sum()))
    lower = t * (math.fsum(parts) - slack) * (1 - 1e-15)
    return VolumeBound(max(lower, 0.0), problem.energy, failure, 1 / t)
