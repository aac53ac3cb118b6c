"""The exact optimum on the grid, proven; or, at a limit, the best bound the search leaves behind.

Every channel is first walked with the chunk's own factor. Those that do not finish within
``EASY_NODES`` are searched one by one, in a reduced basis where the Gram is stiff (``lattice``) or
with what their SDP multipliers add (``deepening``), as estimates of their trees say. All rounding
is bounded and subtracted from the bound (``bounding``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bounds.problem.limits import Limits
from bounds.quantization.centred import arranged, centre
from bounds.quantization.codes import CodeProblem
from bounds.quantization.relaxation.bound import Dual, solve_channel
from bounds.quantization.search.bounding import proven, radii
from bounds.quantization.search.deepening import search_hard
from bounds.quantization.search.enumeration import walk_channels
from bounds.quantization.search.lattice import reduce_chunk

Floats = NDArray[np.float64]

EASY_NODES = 300_000
#: In a chunk whose trees a reduced basis shrinks, only the easiest are walked without it.
STIFF_NODES = 20_000


@dataclass(frozen=True)
class SearchResult:
    """Codes (channels, n), lower bounds in energy units, finished flags, nodes, hard duals."""

    codes: Floats
    lower: Floats
    finished: NDArray[np.bool_]
    nodes: NDArray[np.int64]
    proof: Sequence[Dual | None]


def search(codes: CodeProblem, incumbent: Floats, limits: Limits) -> SearchResult:
    """Search every channel from its incumbent codes (channels, n) until proven or at a limit."""
    factor = codes.factor
    centred = centre(codes, codes.start)
    points, slopes, lo, hi, origin = arranged(codes, factor, centred)
    reduction = reduce_chunk(codes)
    easy = STIFF_NODES if reduction.worthwhile else EASY_NODES
    budget = easy if limits.nodes is None else min(easy, limits.nodes)
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
