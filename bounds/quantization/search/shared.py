"""Multipliers shared by all channels of a chunk, moved out of the quadratic form.

As ``shifted``, but one diagonal D for all, so that one factor of ``H - D`` serves every channel:

    f(z) = L(z) + sum_i D_i (z_i - k_i)(z_i - k_i - 1),

k_i the integer below the minimiser over the box. The multipliers of a channel's SDP depend more on
the Gram than on its weights: the mean of a few channels' is definite (the cone is convex) and
nearly as good. At n = 36 the walks visit a third of the nodes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bounds.linalg.boxqp import box_minimisers
from bounds.quantization.centred import Centred, centre
from bounds.quantization.codes import CodeProblem
from bounds.quantization.factor import Factor, factorise
from bounds.quantization.relaxation.bound import integer_shift, solve_channel

Floats = NDArray[np.float64]

#: So many channels' multipliers are averaged at most, one for every so many channels.
SAMPLES, CHANNELS_A_SAMPLE = 4, 96
#: With more inputs these walks rarely end, and the duals take long.
MOST_INPUTS = 64
#: Share of the mean that is moved: 0.4 to 0.8 do about as well on ten real layers.
THETA = 0.6
#: Share of the trace that the least eigenvalue of ``H - D`` must have.
LEAST = 1e-13


@dataclass(frozen=True)
class Shared:
    """All channels around the minimisers of their L.

    ``multiplier`` (n,): D; ``breakpoint`` (channels, n): k. Without a shift D is zero.
    """

    factor: Factor
    centred: Centred
    multiplier: Floats
    breakpoint: Floats


def share(codes: CodeProblem) -> Shared:
    """The channels' problems with a common diagonal moved out, where there are enough of them."""
    samples = min(SAMPLES, codes.channels // CHANNELS_A_SAMPLE)
    if samples > 0 and codes.features <= MOST_INPUTS:
        rows = np.linspace(0, codes.channels - 1, samples + 2).astype(int)[1:-1]
        parts = [integer_shift(solve_channel(codes, int(c), 0), codes.features)[0] for c in rows]
        shifted = shift_all(codes, THETA / codes.unit * np.mean(parts, axis=0))
        if shifted is not None:
            return shifted
    return unshared(codes)


def unshared(codes: CodeProblem) -> Shared:
    """The channels' problems as they are."""
    return Shared(
        codes.factor,
        centre(codes, codes.start),
        np.zeros(codes.features),
        np.zeros_like(codes.start),
    )


def shift_all(codes: CodeProblem, multiplier: Floats) -> Shared | None:
    """Move ``multiplier`` (n,) out of every form; None if what is left is not definite."""
    matrix = codes.gram.astype(np.longdouble) - np.diag(multiplier.astype(np.longdouble))
    double = np.ascontiguousarray(matrix.astype(np.float64))
    if not np.linalg.eigvalsh(double)[0] > LEAST * np.trace(double):
        return None
    breakpoint = np.clip(np.floor(codes.start), codes.lo, codes.hi - 1)
    linear = codes.targets @ codes.gram - multiplier * (breakpoint + 0.5)
    targets = np.ascontiguousarray(np.linalg.solve(double, linear.T).T)
    points = box_minimisers(double, targets, float(codes.lo), float(codes.hi))
    centred = centre(codes, points, multiplier, breakpoint)
    return Shared(factorise(matrix), centred, multiplier, breakpoint)
