"""The certified SDP bound of a channel: multipliers from a solver, value verified by us."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bounds.quantization.codes import CodeProblem
from bounds.quantization.relaxation.conic import solve_relaxation
from bounds.quantization.relaxation.cuts import Cuts, join, lagrangian_bound, scaled, single_cuts
from bounds.quantization.relaxation.cutting_planes import solve_dual

Floats = NDArray[np.float64]

#: A solver's value with no larger gap is as good as optimal, and may lose that to verification.
CONVERGED, VERIFIED = 1e-4, 1e-7
CUT_ROUNDS = 3
CUTS_PER_INPUT = 6
#: Shares of the integer multipliers tried until the Lagrangian is verifiably definite.
SHARES = (1.0, 1 - 1e-5, 1 - 1e-4, 1 - 1e-3, 0.99, 0.97, 0.9, 0.75, 0.5, 0.25)


@dataclass(frozen=True)
class Dual:
    """A verified lower bound (energy units), its cuts, and the relaxation's primal solution.

    ``cuts`` are on the problem's codes, multipliers in the unit of the Gram. ``mean`` (n,) and
    ``covariance`` (n, n) are those of the random rounding of Park & Boyd (2017).
    """

    lower: float
    cuts: Cuts
    mean: Floats
    covariance: Floats | None

    def scaled(self, gram: int, row: int) -> Dual:
        """The same cuts where the Gram's unit is ``2^-gram`` and the weights' ``2^-row``."""
        with np.errstate(over="ignore"):
            lower = float(np.ldexp(self.lower, gram + 2 * row))
            multiplier = np.ldexp(self.cuts.multiplier, gram)
        return replace(self, lower=lower, cuts=replace(self.cuts, multiplier=multiplier))


def solve_channel(codes: CodeProblem, c: int, rounds: int = CUT_ROUNDS, pairs: int = 0) -> Dual:
    """Our own solver's bound for channel ``c`` (method ``sdp``).

    ``pairs``: how many two-variable cuts each of ``rounds`` rounds may add. The bound is then the
    better of those with and without them, so that more cuts never cost anything but time.
    """
    dual = _solve(codes, c, rounds, 0)
    if pairs > 0:
        tighter = _solve(codes, c, max(rounds, 1), pairs)
        dual = tighter if tighter.lower > dual.lower else dual
    return dual


def _solve(codes: CodeProblem, c: int, rounds: int, pairs: int) -> Dual:
    origin = np.clip(np.floor(codes.start[c]), codes.lo, codes.hi)
    lo, hi = codes.lo - origin, codes.hi - origin
    n = codes.features
    pairs = min(pairs, n * (n - 1))  # a round sees one cut on every sum and every difference
    found = solve_dual(
        codes.gram, codes.targets[c] - origin, codes.start[c] - origin, lo, hi,
        CUTS_PER_INPUT * n + rounds * pairs, rounds, pairs,
    )  # fmt: skip
    first, second, pair, low, high, sign = found.cuts
    moved = origin[first] + np.where(second >= 0, pair * origin[second], 0.0)
    with np.errstate(over="ignore", invalid="ignore"):
        multiplier = np.maximum(found.multiplier, 0.0) * codes.unit
    cuts = Cuts(
        first.copy(),
        second.copy(),
        pair.copy(),
        np.rint(low + moved).astype(np.int64),
        np.rint(high + moved).astype(np.int64),
        sign.copy(),
        # any multiplier may be left out: what is left proves less, and is verified like the rest
        np.where(np.isfinite(multiplier), multiplier, 0.0),
    )
    value = np.inf  # of an unfinished solve: nothing is claimed
    if found.gap <= CONVERGED * found.value:
        value = float(codes.to_error(np.full(1, found.value, np.longdouble))[c])
    lower, cuts = repaired_bound(codes, c, cuts, found.point + origin, value)
    covariance = found.covariance
    if not np.isfinite(covariance).all():  # only random roundings need it
        covariance = np.zeros_like(covariance)
    return Dual(lower, cuts, found.point + origin, covariance)


def solve_channel_scs(codes: CodeProblem, c: int, time_limit: float | None = None) -> Dual:
    """The same bound from the cvxpy model solved by SCS (method ``sdp-scs``).

    Raises SolverError if SCS returns no multipliers at all.
    """
    floors = np.clip(np.floor(codes.start[c]), codes.lo, codes.hi - 1)
    n = codes.features
    answer = solve_relaxation(
        codes.gram, codes.targets[c] - floors, np.zeros(n), codes.lo - floors, codes.hi - floors,
        time_limit=time_limit,
    )  # fmt: skip
    integers = floors.astype(np.int64)
    cuts = join(
        single_cuts(integers, integers + 1, 1.0, answer.integer * codes.unit),
        single_cuts(np.full(n, codes.lo), np.full(n, codes.hi), -1.0, answer.box * codes.unit),
    )
    lower, cuts = repaired_bound(codes, c, cuts, None)
    return Dual(lower, cuts, answer.mean + floors, answer.covariance)


def repaired_bound(
    codes: CodeProblem, c: int, cuts: Cuts, point: Floats | None, claimed: float = np.inf
) -> tuple[float, Cuts]:
    """The best verified bound over shares of the integer multipliers, and the cuts that give it.

    A solver's multipliers are rarely feasible to the last digit; smaller ones leave ``M`` definite.
    None smaller are tried where all of ``claimed``, the solver's own value, is verified.
    """
    gram = codes.gram * codes.unit
    best, best_cuts = 0.0, scaled(cuts, 0.0)
    for share in SHARES:
        trial = cuts if share == 1.0 else shrunk(cuts, share)
        if share != 1.0 or point is None:
            point = lagrangian_minimiser(gram, codes.weights[c], codes.scale[c], trial)
            if point is None:
                continue
        bound = lagrangian_bound(gram, codes.weights[c], codes.scale[c], trial, point)
        if bound > best:
            best, best_cuts = bound, trial
        elif best > 0:
            break  # concave in the share: it only gets worse from here
        if best >= claimed * (1 - VERIFIED):
            break
    return best, best_cuts


def shrunk(cuts: Cuts, share: float) -> Cuts:
    """Integer multipliers times ``share``; box multipliers, which help definiteness, unchanged."""
    multiplier = cuts.multiplier * np.where(cuts.sign > 0, share, 1.0)
    return replace(cuts, multiplier=multiplier)


def lagrangian_minimiser(gram: Floats, weights: Floats, scale: float, cuts: Cuts) -> Floats | None:
    """Real codes (n,) that minimise error minus weighted cuts; None if the system is singular."""
    rows = cuts.directions(len(weights))
    signed = cuts.sign * cuts.multiplier
    matrix = gram - (rows * signed[:, None]).T @ rows
    middle = rows.T @ (signed * (cuts.low + cuts.high) / 2)
    centre = np.rint(weights / scale)
    # solve for the distance from nearby integers: less cancellation
    rhs = gram @ (weights / scale - centre) - middle + (gram - matrix) @ centre
    try:
        return np.asarray(centre + np.linalg.solve(matrix, rhs), np.float64)
    except np.linalg.LinAlgError:
        return None


def integer_shift(dual: Dual, n: int) -> tuple[Floats, Floats]:
    """For each code its strongest integer cut: multipliers (n,) and integers k (n,)."""
    multiplier, breakpoint = np.zeros(n), np.zeros(n)
    cuts = dual.cuts
    for j in np.flatnonzero((cuts.sign > 0) & (cuts.second < 0)):
        i = cuts.first[j]
        if cuts.multiplier[j] > multiplier[i]:
            multiplier[i], breakpoint[i] = cuts.multiplier[j], cuts.low[j]
    return multiplier, breakpoint
