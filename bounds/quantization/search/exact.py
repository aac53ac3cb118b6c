"""The exact optimum on the grid, proven; or, at a limit, the best bound the search leaves behind.

Every channel is first walked with one factor for the chunk (``shared``). Those that do not finish
within ``EASY_NODES`` are searched one by one, in a reduced basis where the Gram is stiff
(``lattice``) or with what their own SDP multipliers add (``deepening``), as estimates of their
trees say. All rounding is bounded and subtracted from the bound (``bounding``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bounds.problem.limits import Limits
from bounds.quantization.centred import arranged
from bounds.quantization.codes import CodeProblem
from bounds.quantization.levels import LevelProblem
from bounds.quantization.relaxation.bound import Dual, solve_channel
from bounds.quantization.search.bounding import proven, radii
from bounds.quantization.search.deepening import search_hard
from bounds.quantization.search.enumeration import walk_channels
from bounds.quantization.search.lattice import Reduction, reduce_chunk
from bounds.quantization.search.leveled import (
    LevelShare,
    share_levels,
    unshared_levels,
    walk_easy_levels,
)
from bounds.quantization.search.shared import Shared, share, unshared

Floats = NDArray[np.float64]

EASY_NODES = 300_000
#: On levels of many steps a channel's own multipliers are tried after so many, which cost as much.
LEVEL_NODES = 60_000
#: In a chunk whose trees a reduced basis shrinks, only the easiest are walked without it.
STIFF_NODES = 20_000
#: A finished walk whose bound is off by more than this share of the error, and of the energy, is
#: repeated without shared multipliers.
PRECISE, NEGLIGIBLE = 5e-10, 5e-14


@dataclass(frozen=True)
class SearchResult:
    """Codes (channels, n), lower bounds in energy units, finished flags, nodes, hard duals."""

    codes: Floats
    lower: Floats
    finished: NDArray[np.bool_]
    nodes: NDArray[np.int64]
    proof: Sequence[Dual | None]


def search(codes: CodeProblem | LevelProblem, incumbent: Floats, limits: Limits) -> SearchResult:
    """Search every channel from its incumbent codes (channels, n) until proven or at a limit."""
    reduction: Reduction | None = None  # levels of many steps are no lattice
    easy = LEVEL_NODES
    if isinstance(codes, LevelProblem):
        shared: Shared | LevelShare = share_levels(codes)
    else:
        reduction, shared = reduce_chunk(codes), share(codes)
        easy = STIFF_NODES if reduction.worthwhile else EASY_NODES
    budget = easy if limits.nodes is None else min(easy, limits.nodes)
    best, lower, upper, finished, nodes = walk_easy(codes, shared, incumbent, budget)
    if shared.multiplier.any():
        # what L adds and the cuts take away again costs digits where the error is tiny
        energy = ((codes.weights @ codes.gram) * codes.weights).sum(axis=1) * codes.unit
        most = np.maximum(PRECISE * upper, NEGLIGIBLE * energy)
        for c in np.flatnonzero(finished & (upper - lower > most)):
            room = budget if limits.nodes is None else limits.nodes - int(nodes[c])
            if room > 0:
                single = codes.channel(int(c))
                none = (
                    unshared_levels(single)
                    if isinstance(single, LevelProblem)
                    else unshared(single)
                )
                again = walk_easy(single, none, best[c : c + 1], min(budget, room))
                best[c] = again[0][0]
                lower[c] = max(lower[c], again[1][0])
                nodes[c] += again[4][0]
    proof: list[Dual | None] = [None] * codes.channels
    for c in np.flatnonzero(~finished):
        if limits.nodes is not None and nodes[c] >= limits.nodes:
            dual = solve_channel(codes, int(c))
            lower[c] = max(lower[c], dual.lower)
            proof[c] = replace(dual, covariance=None)
            continue
        hard = search_hard(codes, int(c), best[c], limits, int(nodes[c]), reduction)
        best[c], finished[c] = hard.codes, hard.finished
        proof[c] = hard.dual and replace(hard.dual, covariance=None)
        lower[c] = max(lower[c], hard.lower)
        nodes[c] += hard.nodes
    return SearchResult(best, lower, finished, nodes, proof)


def walk_easy(
    codes: CodeProblem | LevelProblem,
    shared: Shared | LevelShare,
    incumbent: Floats,
    budget: int,
) -> tuple[Floats, Floats, Floats, NDArray[np.bool_], NDArray[np.int64]]:
    """Walk every channel with at most ``budget`` nodes.

    Returns: codes (channels, n), lower bounds, errors of the codes, finished, nodes (channels,).
    """
    if isinstance(codes, LevelProblem):
        assert isinstance(shared, LevelShare)
        return walk_easy_levels(codes, shared, incumbent, budget)
    assert isinstance(shared, Shared)
    factor, centred = shared.factor, shared.centred
    points, slopes, lo, hi, origin = arranged(codes, factor, centred)
    breakpoints = np.ascontiguousarray(shared.breakpoint[:, factor.order] - origin)
    multiplier = np.ascontiguousarray(shared.multiplier[factor.order])
    reach = radii(codes, centred, incumbent)
    cost, found, nodes, finished, opened = walk_channels(
        factor.factor, points, slopes, multiplier, breakpoints, reach, lo, hi, budget
    )
    best = incumbent.copy()
    better = ~np.isnan(found[:, 0])
    unordered = np.empty_like(found)
    unordered[:, factor.order] = found + origin
    best[better] = unordered[better]
    upper = codes.errors(best)
    lower = proven(
        codes, factor, centred, np.where(finished, cost, opened), upper, shared.multiplier
    )
    return best, lower, upper, finished, nodes
