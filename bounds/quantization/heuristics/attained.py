"""Upper bounds: codes that practical methods reach, and the best of them improved by descent.

Of a ``LevelProblem`` codes are numbers of levels (``leveled``).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bounds.quantization.centred import arranged, centre
from bounds.quantization.codes import CodeProblem
from bounds.quantization.heuristics import leveled
from bounds.quantization.heuristics.beam import beam_codes
from bounds.quantization.heuristics.descent import descend_from
from bounds.quantization.heuristics.rounding import gptq, round_to_nearest, successive_rounding
from bounds.quantization.levels import LevelProblem, nearest_levels
from bounds.quantization.relaxation.bound import Dual

Floats = NDArray[np.float64]
Problem = CodeProblem | LevelProblem

SAMPLES = 50
BEAM_WIDTH = 32


def nearest(codes: Problem) -> Floats:
    """Round to nearest (method ``rtn``)."""
    if isinstance(codes, LevelProblem):
        return leveled.nearest(codes)
    return round_to_nearest(codes.targets, codes.lo, codes.hi)


def gptq_codes(codes: Problem) -> Floats:
    """GPTQ with activation order and its usual damping (method ``gptq``)."""
    if isinstance(codes, LevelProblem):
        return leveled.gptq(codes)
    return gptq(codes.gram, codes.targets, codes.lo, codes.hi)


def descent(codes: Problem) -> Floats:
    """Box-aware descent with pair moves from several roundings (method ``descent``).

    Starts: nearest, GPTQ, nearest plane in the search's own order around the minimiser over the box
    (which is what matters when weights are clipped), and that minimiser rounded.
    """
    if isinstance(codes, LevelProblem):
        return leveled.descent(codes)
    factor = codes.factor
    order = factor.order
    plane = np.empty_like(codes.start)
    plane[:, order] = successive_rounding(
        factor.factor,
        np.ascontiguousarray(codes.start[:, order]),
        codes.lo,
        codes.hi,
    )
    starts = np.stack([nearest(codes), gptq_codes(codes), plane, np.rint(codes.start)])
    return descend_from(codes.gram, codes.targets, starts, float(codes.lo), float(codes.hi))


def beam(codes: Problem, width: int = BEAM_WIDTH) -> Floats:
    """K-best beam search, then descent (method ``beam``)."""
    if isinstance(codes, LevelProblem):
        return leveled.beam(codes, width)
    factor = codes.factor
    centred = centre(codes, codes.start)
    points, slopes, lo, hi, origin = arranged(codes, factor, centred)
    found = np.empty_like(points)
    found[:, factor.order] = beam_codes(factor.factor, points, slopes, lo, hi, width) + origin
    return descend_from(codes.gram, codes.targets, found[None], float(codes.lo), float(codes.hi))


def park_boyd(codes: Problem, c: int, dual: Dual, seed: tuple[int, int]) -> Floats:
    """Randomised rounding of the SDP's solution, each sample improved by descent (n,).

    Park & Boyd, *A semidefinite programming method for integer convex quadratic minimization*,
    Optim. Lett. 2017, Section 4: samples from a normal with the relaxation's mean and covariance,
    rounded (here also clipped to the box before, not after, the descent).

    ``seed``: the user's, and the channel's number.
    """
    assert dual.covariance is not None
    rng = np.random.default_rng(seed)
    values, vectors = np.linalg.eigh((dual.covariance + dual.covariance.T) / 2)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    samples = dual.mean + rng.standard_normal((SAMPLES, codes.features)) @ root.T
    if isinstance(codes, LevelProblem):
        single = codes.channel(c)
        starts = nearest_levels(codes.levels, np.vstack([dual.mean, samples]), codes.uniform)
        return leveled.descend(single, starts[:, None, :])[0]
    starts = round_to_nearest(np.vstack([dual.mean, samples]), codes.lo, codes.hi)
    return descend_from(
        codes.gram, codes.targets[c : c + 1], starts[:, None, :], float(codes.lo), float(codes.hi)
    )[0]
