"""The exact optimum on the grid, proven; or, at a limit, the best bound the search leaves behind.

Every channel is first walked with the chunk's own factor. Those that do not finish within
``EASY_NODES`` get their SDP multipliers and are walked again with the factor of
``H - theta diag(lambda)``, which starts from nearly the SDP bound (DESIGN section 5); ``theta`` is
the one with the smallest estimated tree. All rounding is bounded and subtracted from the bound.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bounds.limits import Limits
from bounds.quantization.boxqp import box_minimiser
from bounds.quantization.centred import Centred, arranged, centre
from bounds.quantization.codes import CodeProblem
from bounds.quantization.enumeration import Walk, new_walk, open_bound, walk_channels, walk_on
from bounds.quantization.estimate import estimate_nodes
from bounds.quantization.factor import Factor, factorise, walk_slack
from bounds.quantization.heuristics import beam
from bounds.quantization.relaxation import Dual, integer_shift, solve_channel

Floats = NDArray[np.float64]

EASY_NODES = 300_000
SLICE_NODES = 1_000_000
THETAS = (0.0, 0.5, 0.7, 0.8, 0.9, 0.95)
PROBES = 400
HARD_BEAM = 128


def proven(
    codes: CodeProblem, factor: Factor, centred: Centred, cost: Floats, upper: Floats
) -> Floats:
    """Turn walk costs (channels,) into valid lower bounds on the error, in energy units.

    The true optimum has an error of at most ``upper``; strong convexity and the box say how far it
    can be from the centre, and ``walk_slack`` what rounding can be worth that far out.
    """
    square = np.square(codes.scale.astype(np.longdouble)) * codes.unit
    room = np.asarray(upper / square * (1 + 1e-12) - centred.value, float)
    room = np.maximum(room, 0.0) + 1e-300
    reach = np.maximum(codes.hi - centred.point, centred.point - codes.lo)
    radius = np.square(reach).sum(axis=1)
    if factor.smallest > 0:
        # smallest r^2 <= room + (doubt + shift r) r over this ball
        inner = factor.smallest - factor.shift
        if inner > 0:
            root = centred.doubt + np.sqrt(centred.doubt**2 + 4 * inner * room)
            radius = np.minimum(radius, np.square(root / (2 * inner)) * (1 + 1e-12))
    slack = walk_slack(factor, room, radius, centred.doubt, codes.hi - codes.lo + 1.0)
    total = codes.to_error(np.asarray(centred.value + cost - slack, np.longdouble))
    return np.maximum(0.0, np.nextafter(total.astype(np.float64), -np.inf))


def radii(codes: CodeProblem, centred: Centred, incumbent: Floats) -> Floats:
    """Cost of the incumbents (channels, n) above the centre, rounded up."""
    above = (codes.costs(incumbent) - centred.value).astype(np.float64)
    return np.nextafter(np.maximum(above, 0.0) * (1 + 1e-14), np.inf)


@dataclass(frozen=True)
class SearchResult:
    """Codes (channels, n), lower bounds in energy units, finished flags, nodes, duals if solved."""

    codes: Floats
    lower: Floats
    finished: NDArray[np.bool_]
    nodes: NDArray[np.int64]


def search(codes: CodeProblem, incumbent: Floats, limits: Limits) -> SearchResult:
    """Search every channel from its incumbent codes (channels, n) until proven or at a limit."""
    factor = factorise(codes.gram)
    centred = centre(codes, codes.start)
    points, slopes, lo, hi, origin = arranged(codes, factor, centred)
    budget = EASY_NODES if limits.nodes is None else min(EASY_NODES, limits.nodes)
    cost, found, nodes, finished, opened = walk_channels(
        factor.factor, points, slopes, radii(codes, centred, incumbent), lo, hi, budget
    )
    best = incumbent.copy()
    better = ~np.isnan(found[:, 0])
    unordered = np.empty_like(found)
    unordered[:, factor.order] = found + origin
    best[better] = unordered[better]
    upper = codes.errors(best)
    lower = proven(codes, factor, centred, np.where(finished, cost, opened), upper)
    for c in np.flatnonzero(~finished):
        if limits.nodes is not None and nodes[c] >= limits.nodes:
            lower[c] = max(lower[c], solve_channel(codes, int(c)).lower)
            continue
        hard = search_hard(codes, int(c), best[c], factor, limits, int(nodes[c]))
        best[c], finished[c] = hard.codes[0], hard.finished[0]
        lower[c] = max(lower[c], hard.lower[0])
        nodes[c] += hard.nodes[0]
    return SearchResult(best, lower, finished, nodes)


@dataclass(frozen=True)
class Shifted:
    """One channel's search with ``theta`` times its SDP multipliers moved out of the quadratic."""

    factor: Factor
    centred: Centred
    cut: Floats
    cut_at: Floats


def shift(codes: CodeProblem, theta: float, cut: Floats, cut_at: Floats) -> Shifted | None:
    """Factor ``H - theta diag(cut)`` of a one-channel problem, or None if it is not definite."""
    cut = theta * cut
    matrix = codes.gram.astype(np.longdouble) - np.diag(cut.astype(np.longdouble))
    double = np.ascontiguousarray(matrix.astype(np.float64))
    if np.linalg.eigvalsh(double)[0] <= 1e-13 * np.trace(double):
        return None
    linear = codes.gram @ codes.targets[0] - cut * (cut_at + 0.5)
    target = np.linalg.solve(double, linear)
    point = box_minimiser(double, target, float(codes.lo), float(codes.hi))[None, :]
    return Shifted(factorise(matrix), centre(codes, point, cut, cut_at), cut, cut_at)


def search_hard(
    codes: CodeProblem, c: int, incumbent: Floats, plain: Factor, limits: Limits, spent: int
) -> SearchResult:
    """Search one channel that the easy walk did not finish."""
    begin = time.perf_counter()
    single = codes.channel(c)
    pair = np.stack([incumbent, beam(single, HARD_BEAM)[0]])
    incumbent = pair[int(np.argmin(single.costs(pair)))]
    dual: Dual = solve_channel(single, 0)
    cut, cut_at = integer_shift(dual, single.features)
    cut = cut / codes.unit
    candidates = [
        Shifted(plain, centre(single, single.start), np.zeros_like(cut), cut_at),
        *(s for theta in THETAS[1:] if (s := shift(single, theta, cut, cut_at)) is not None),
    ]
    start = incumbent[None, :]
    sizes = [
        estimate_nodes(*walk_arguments(single, s), radii(single, s.centred, start)[0], PROBES, c)
        for s in candidates
    ]
    chosen = candidates[int(np.argmin(sizes))]
    walk = new_walk(single.features, radii(single, chosen.centred, start)[0])
    arguments = walk_arguments(single, chosen)
    nodes = 0
    while not walk.finished:
        room = SLICE_NODES
        if limits.nodes is not None:
            room = min(room, limits.nodes - spent - nodes)
        if room <= 0 or (limits.seconds and time.perf_counter() - begin >= limits.seconds):
            break
        nodes += walk_on(*arguments, room, *walk.arrays())
    best = best_codes(walk, chosen, incumbent)
    cost = walk.cost if walk.finished else remaining(arguments, walk)
    upper = single.errors(best)
    lower = proven(single, chosen.factor, chosen.centred, np.array([cost]), upper)
    return SearchResult(
        best, np.maximum(lower, dual.lower), np.array([walk.finished]), np.array([nodes])
    )


def walk_arguments(codes: CodeProblem, shifted: Shifted):
    """What ``walk_on`` needs ahead of its budget, in the factor's order."""
    points, slopes, lo, hi, origin = arranged(codes, shifted.factor, shifted.centred)
    order = shifted.factor.order
    cut_at = np.ascontiguousarray(shifted.cut_at[order] - origin[0])
    cut = np.ascontiguousarray(shifted.cut[order])
    return shifted.factor.factor, points[0], slopes[0], cut, cut_at, lo[0], hi[0]


def remaining(arguments: tuple[Any, ...], walk: Walk) -> float:
    """Smallest cost of what an interrupted walk has not seen."""
    integers, floats, sums, _, scalars = walk.arrays()
    state = {"integers": integers, "floats": floats, "sums": sums, "scalars": scalars}
    return float(open_bound(*arguments, **state))


def best_codes(walk: Walk, shifted: Shifted, incumbent: Floats) -> Floats:
    """The walk's best codes in the problem's order (1, n), or the incumbent's."""
    if np.isnan(walk.best[0]):
        return incumbent[None, :].copy()
    best = np.empty((1, len(walk.best)))
    order = shifted.factor.order
    best[0, order] = walk.best + np.rint(shifted.centred.point[0, order])
    return best
