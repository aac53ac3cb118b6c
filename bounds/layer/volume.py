"""The volume bound: what no quantizer can beat on average over where the grid lies.

Displace each weight by ``s u``, ``u`` uniform in ``[-1/2, 1/2]``. The cells of a grid of
consecutive integers then tile a box B of errors, so that for one channel and any ``lambda = 1/t``

    E exp(-lambda min err) <= prod s_i^-1 int_B exp(-lambda e^T G e) de = exp(A),

and over independent channels Markov's inequality gives, for ``t`` fixed beforehand,
``sum err >= -t (sum A + log(1/failure))`` with probability at least ``1 - failure``. It is the
sphere bound of lattice quantization (Zador 1982; Conway and Sloane, *Sphere Packings*, ch. 2) for
one layer. With m and h the centre and half width of B, any ``rho >= 0`` keeps the integral
Gaussian, ``1_B(e) <= exp(sum rho_i (h_i^2 - (e_i - m_i)^2) / t)``:

    -t A >= t (1/2 logdet (G + rho) - n/2 log(pi t) + sum log s_i) - sum rho_i h_i^2 + V,
    V = min_e [e^T G e + sum rho_i (e_i - m_i)^2].

``rho = 0`` is the grid without its ends, the closed form; what ``rho`` adds is found by
``bounds.layer.boxed``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bounds.errors import ProblemError
from bounds.layer.boxed import BoxedTerms, boxed_terms, choose_base
from bounds.layer.levels import Levels, make_levels
from bounds.linalg.balance import power_of_two_balance
from bounds.linalg.verified import verified_factor
from bounds.problem.gram import Problem, check_problem
from bounds.problem.grid import Grid, choose_scale
from bounds.problem.range import snr

Floats = NDArray[np.float64]

#: Times that multipliers and ``t`` are found anew, each for the other.
TURNS = 3


@dataclass(frozen=True)
class VolumeBound:
    """``lower``: on the sum of the channels' errors, 0.0 if none; ``energy``: (channels,).

    It holds for weights displaced by a random part of a step with probability ``1 - failure``,
    not for the weights given. ``rate``: the ``lambda`` used, in one over the unit of the energy.
    ``boxed``: whether the ends of the grid count.
    """

    lower: float
    energy: Floats
    failure: float
    rate: float
    status: str = "volume"
    boxed: bool = False

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
    scale: ArrayLike | str | None = None,
    bits: int | None = None,
    grid: Grid | None = None,
    failure: float = 1e-9,
) -> VolumeBound:
    """The larger of the closed form and, where the bit width is known, the form with the ends.

    Args:
        gram: (n, n), raw sum over rows of ``X^T X``; weights: (channels, n).
        scale: the step, one for all channels or (channels,); or a rule such as ``"mse"`` that
            chooses it from the weights, which needs ``bits``.
        bits: width of signed codes; without it the grid has no ends and the bound is the closed
            form, which holds at any bit width.
        grid: instead of ``scale`` and ``bits``: any grid of consecutive integers, steps and zero
            points for groups of inputs too.
        failure: probability with which the bound may fail, between 0 and 1.

    A Gram that is not verified positive definite gives 0.0 where the grid has no ends.

    Raises:
        ProblemError: numbers that define no problem, ``failure`` outside (0, 1), or levels that are
            no consecutive integers.
    """
    if not 0 < failure < 1:
        raise ProblemError(f"failure must be between 0 and 1, got {failure!r}")
    if (grid is None) == (scale is None):
        raise ProblemError("give either scale (and bits), or grid")
    problem = check_problem(gram, weights)
    if grid is None:
        assert scale is not None
        if isinstance(scale, str):
            if bits is None:
                raise ProblemError(f"the rule {scale!r} chooses a step for a bit width; give bits")
            scale = choose_scale(problem.weights, bits, scale)
        chosen, ends = Grid.uniform(bits or 1, scale), bits is not None
    else:
        chosen, ends = grid, True
    return volume_of(problem, chosen, failure, ends)


def volume_of(
    problem: Problem, grid: Grid, failure: float = 1e-9, ends: bool = True
) -> VolumeBound:
    """``volume_bound`` of a checked problem; ``ends``: whether the grid's ends may count."""
    grid.check(problem)
    if not grid.uniform_levels:
        raise ProblemError(
            "the volume bound needs levels that are consecutive integers: the cells of others do "
            "not tile"
        )
    live = problem.live
    none = VolumeBound(0.0, problem.energy, failure, math.inf)
    if not live.any():
        return none
    balance = power_of_two_balance(np.diag(problem.gram))[live]
    matrix = problem.gram[np.ix_(live, live)] * balance * balance[:, None]
    levels = make_levels(grid, problem.channels, live).balanced(balance)
    weights = problem.weights[:, live] / balance
    found = [_evaluate(levels, failure, _free(matrix, problem.channels), None)]
    if ends:
        found.append(_boxed(matrix, weights, levels, failure))
    lower, t, boxed = max(found, key=lambda one: one[0])
    if not lower > 0:
        return none
    return VolumeBound(lower, problem.energy, failure, 1 / t, boxed=boxed)


Found = tuple[float, float, bool]
_NONE: Found = (0.0, 1.0, False)


def _free(matrix: Floats, channels: int) -> float:
    """A lower bound on the sum over channels of ``1/2 logdet G``; minus infinity if none."""
    factor = verified_factor(matrix)
    return -math.inf if factor is None else channels / 2 * factor.logdet_lower()


def _boxed(matrix: Floats, weights: Floats, levels: Levels, failure: float) -> Found:
    """The form with the ends: multipliers and ``t`` in turns, then every rounding counted."""
    centre, half = box_of(weights, levels)
    base = choose_base(matrix, centre, half, _log_steps(levels))
    if base is None:
        return _NONE
    terms: BoxedTerms | None = None
    t = base.t
    for _ in range(TURNS):
        terms = boxed_terms(base, centre, half, t, terms)
        t = _best_t(levels, failure, float(terms.logdets.sum()) / 2)
        if t is None:
            return _NONE
    assert terms is not None
    return _evaluate(levels, failure, float(terms.logdets.sum()) / 2, terms)


def box_of(weights: Floats, levels: Levels) -> tuple[Floats, Floats]:
    """Centre and half width (channels, n) of the errors that cells of the grid can have."""
    low, high = levels.table[0], levels.table[-1]
    centre = levels.step * ((low + high) / 2 - levels.zero) - weights
    return centre, levels.step * ((high - low + 1) / 2)


def _log_steps(levels: Levels) -> float:
    return math.fsum(np.log(levels.step).ravel())


def _best_t(levels: Levels, failure: float, half_logdets: float) -> float | None:
    """Stationary in t; any t gives a valid bound, so its own rounding does not matter."""
    count = levels.step.size / 2
    parts = half_logdets + _log_steps(levels) + math.log(failure)
    log_t = parts / count - math.log(math.pi) - 1
    return math.exp(log_t) if -700 < log_t < 700 else None


def _evaluate(
    levels: Levels, failure: float, half_logdets: float, terms: BoxedTerms | None
) -> Found:
    """The bound, rounded down; ``half_logdets``: a lower bound on all of them."""
    if not math.isfinite(half_logdets):
        return _NONE
    t = _best_t(levels, failure, half_logdets)
    if t is None:
        return _NONE
    parts = [half_logdets, _log_steps(levels), math.log(failure)]
    parts.append(-levels.step.size / 2 * math.log(math.pi * t))
    # logarithms are accurate to a few units in the last place, each magnified by its factor
    sizes = math.fsum(map(abs, parts)) + float(np.abs(np.log(levels.step)).sum())
    value = t * (math.fsum(parts) - 2.0**-48 * sizes)
    value -= abs(value) * 1e-15
    if terms is not None:
        value -= math.fsum(terms.prices) * (1 + 1e-15)
    value -= abs(value) * 1e-15
    return value, t, terms is not None
