"""A grid for most weights, k of them real: the best outliers, proven.

Given which inputs O are free, their weights are minimised out and the others face the Schur
complement ``S = G_RR - G_RO G_OO^-1 G_OR``: a quantization problem of their own. Every set of k is
tried, so this is for few outliers (SpQR and SqueezeLLM keep about one in a hundred).

The complement is not representable; what is solved is at most it. For any A,

    S = T(A) - P,   T(A) = G_RR - A^T G_OR - G_RO A + A^T G_OO A,
    0 <= P <= |G_OR - G_OO A|^2 / lambda_min(G_OO),

so T in extended precision, less its rounding and that much of the identity, bounds from below.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bounds.errors import ProblemError
from bounds.linalg.definite import eigenvalue_lower_bound
from bounds.problem.answer import answer
from bounds.problem.attempt import Options
from bounds.problem.checks import whole_number
from bounds.problem.gram import Problem, check_problem
from bounds.problem.grid import Grid
from bounds.problem.limits import DEFAULT_SECONDS, Limits
from bounds.problem.range import EXACT, Bounded
from bounds.problem.rule import GridRule
from bounds.quantization.solve import asked_grid

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Most sets of outliers that are tried.
MOST_SETS = 20_000


@dataclass(frozen=True, eq=False)
class OutlierRange(Bounded):
    """Per channel (channels,): ``lower`` proven, ``upper`` attained by ``weights`` (channels, n).

    ``outliers`` (channels, k): inputs whose weights are off the grid; ``exact`` (channels,):
    whether every set of them was solved to its optimum. ``seconds``: wall time.
    """

    lower: Floats
    upper: Floats
    energy: Floats
    weights: Floats
    outliers: Ints
    exact: NDArray[np.bool_]
    seconds: float


def outlier_range(
    gram: ArrayLike,
    weights: ArrayLike,
    *,
    outliers: int,
    bits: int | None = None,
    scale: ArrayLike | str | None = None,
    grid: Grid | GridRule | str | None = None,
    method: str = "exact",
    time_limit: float | None = DEFAULT_SECONDS,
    node_limit: int | None = None,
) -> OutlierRange:
    """The range of ``min (v-w)^T G (v-w)``, all but ``outliers`` weights of a channel on the grid.

    Args:
        gram: (n, n); weights: (channels, n).
        outliers: k, so few that at most ``MOST_SETS`` sets of inputs have to be tried.
        bits, scale, grid: as for ``quantization_range``.
        method: a quantization method, for each set; one that proves nothing attains only.
        time_limit, node_limit: of each search.

    Raises:
        ProblemError: numbers that define no problem, too many outliers.
        MethodError: an unknown method.
    """
    began = time.perf_counter()
    problem = check_problem(gram, weights)
    chosen = asked_grid(problem, bits, scale, grid)
    if not chosen.shared:
        raise ProblemError("outliers are for grids with one step a channel and no zero point")
    live = np.flatnonzero(problem.live)
    k = min(whole_number("outliers", outliers, 0), len(live))
    if math.comb(len(live), k) > MOST_SETS:
        raise ProblemError(
            f"{k} outliers of {len(live)} inputs are {math.comb(len(live), k)} sets, over "
            f"{MOST_SETS}; ask for fewer"
        )
    options = Options(Limits(time_limit, node_limit))
    channels = problem.channels
    lower, upper = np.full(channels, np.inf), np.full(channels, np.inf)
    exact = np.ones(channels, bool)
    best = problem.weights.copy()
    places = np.zeros((channels, k), np.int64)
    for some in combinations(live, k):
        free = np.array(some, int)
        rest = np.setdiff1d(np.arange(problem.features), free)
        values = np.zeros(problem.weights.shape)
        bound = np.zeros(channels)
        if len(rest):
            reduced = _without(problem, free, rest)
            found = answer(reduced, chosen, method, options)
            values[:, rest], bound = found.weights, found.lower
            # the optimum of a Gram that was given up is none of the problem's
            exact &= (found.status == EXACT) & reduced.live.any()
        values[:, free] = _fitted(problem, values, free, rest)
        errors = _errors(problem, values, free)
        better = errors < upper
        upper[better], best[better], places[better] = errors[better], values[better], free
        lower = np.minimum(lower, bound)
    lower = np.minimum(lower, upper)
    return OutlierRange(
        lower, upper, problem.energy, best, places, exact, time.perf_counter() - began
    )


def _without(problem: Problem, free: Ints, rest: Ints) -> Problem:
    """The problem of inputs ``rest`` with ``free`` minimised out, its Gram at most the true one."""
    wide = np.longdouble
    gram = problem.gram.astype(wide)
    own, cross, block = gram[np.ix_(rest, rest)], gram[np.ix_(free, rest)], gram[np.ix_(free, free)]
    shift, out = 0.0, problem.gram[np.ix_(rest, rest)]
    if len(free):
        double = problem.gram[np.ix_(free, free)]
        eigen = eigenvalue_lower_bound(double)
        a = np.linalg.lstsq(double, cross.astype(np.float64), rcond=None)[0].astype(wide)
        middle = a.T @ cross
        exact = own - middle - middle.T + a.T @ block @ a
        exact = (exact + exact.T) / 2
        out = np.ascontiguousarray(exact.astype(np.float64))
        size = np.abs(a.T) @ np.abs(cross)
        absolute = np.abs(own) + size + size.T + np.abs(a.T) @ np.abs(block) @ np.abs(a)
        unit = 8 * (len(free) + 4) * np.finfo(wide).eps
        # row sums bound the norm of a symmetric matrix
        shift = float((unit * absolute).sum(axis=1).max()) + float(
            (2.0**-52 * np.abs(out)).sum(axis=1).max()
        )
        residual = np.abs(cross - block @ a) + unit * (np.abs(cross) + np.abs(block) @ np.abs(a))
        miss = float((residual * residual).sum())
        if miss > 0:
            shift = shift + miss / eigen if eigen > 0 else math.inf
    if not math.isfinite(shift):  # nothing can be said of dependent outliers
        return check_problem(np.zeros_like(out), problem.weights[:, rest])
    out = out - np.diag(np.full(len(out), shift * (1 + 1e-9)))
    diagonal = np.diag(out) > 0
    if not diagonal.all() or not eigenvalue_lower_bound(out) > 0:
        # what the shift made indefinite proves nothing: a zero Gram bounds everything
        out = np.zeros_like(out)
    return check_problem(out, problem.weights[:, rest])


def _fitted(problem: Problem, values: Floats, free: Ints, rest: Ints) -> Floats:
    """Weights (channels, k) of the outliers that serve the others' ``values`` best."""
    if not len(free):
        return np.zeros((problem.channels, 0))
    pull = (values[:, rest] - problem.weights[:, rest]) @ problem.gram[np.ix_(rest, free)]
    block = problem.gram[np.ix_(free, free)]
    return problem.weights[:, free] - np.linalg.lstsq(block, pull.T, rcond=None)[0].T


def _errors(problem: Problem, values: Floats, free: Ints) -> Floats:
    """Errors (channels,) of values on the grid but for ``free``, rounded up."""
    # the weights as they are, and as grid points: products of code and step rounded to float64
    doubt = 2.0**-52 * np.abs(values)
    doubt[:, free] = 0
    plain = problem.errors(values)
    size = ((doubt @ np.abs(problem.gram)) * doubt).sum(axis=1)
    return np.square(np.sqrt(plain) + np.sqrt(size)) * (1 + 1e-15)
