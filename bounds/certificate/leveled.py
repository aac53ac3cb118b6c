"""Proofs for channels on grids of groups, zero points or codebooks: a search, or multipliers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bounds.problem.gram import check_problem
from bounds.problem.grid import Grid
from bounds.problem.range import EXACT, HEURISTIC, Range
from bounds.quantization.levels import LevelProblem, make_levels
from bounds.quantization.relaxation.bound import Dual, solve_channel
from bounds.quantization.search.leveled import Leveled, level_shifts

Json = dict[str, Any]
Floats = NDArray[np.float64]


def level_proofs(
    gram: Floats, weights: Floats, grid: Grid, found: Range, search_nodes: int
) -> Iterator[Iterator[tuple[float, Json]]]:
    """For each channel the claims to try, strongest first, as (lower, proof).

    Args:
        gram: (n, n); weights: (channels, n), rounded as they were solved.
        grid: of these channels and inputs.
        found: the solver's ranges. Exact ones get a search, if its tree is estimated to have at
            most ``search_nodes`` nodes, and else, as certified ones, a dual.
    """
    problem = make_levels(check_problem(gram, weights), grid)
    for c in range(problem.channels):
        yield _claims(problem, c, found, search_nodes)


def _claims(
    problem: LevelProblem, c: int, found: Range, search_nodes: int
) -> Iterator[tuple[float, Json]]:
    status, lower = str(found.status[c]), float(found.lower[c])
    if status == HEURISTIC or not lower > 0:
        return
    single = problem.channel(c)
    dual = found.proof[c] if len(found.proof) else None
    if dual is None or (dual.cuts.second >= 0).any():
        dual = solve_channel(single, 0)
    if status == EXACT:
        live = problem.problem.live
        codes = problem.grid.codes(found.weights)[c : c + 1, live]
        numbers = np.searchsorted(problem.levels, codes[0]).astype(np.float64)
        trees = level_shifts(single, dual)
        sizes = [tree.nodes(tree.radius(numbers)) for tree in trees]
        if min(sizes) <= search_nodes:
            yield lower, _search(trees[int(np.argmin(sizes))])
    yield dual.lower, {"is": "dual", "cuts": _cuts(dual, problem.levels)}


def _search(tree: Leveled) -> Json:
    """Inputs from the one fixed last to the one fixed first; the rest in that order."""
    codes, order = tree.codes, tree.factor.order
    return {
        "is": "search",
        "order": [int(i) for i in order],
        "centre": [float(x) for x in tree.centred.point[0, order] * codes.scale[0]],
        "cut": [float(x) for x in tree.multiplier[order] * codes.unit],
        "at": [int(k) for k in tree.below[0, order]],
    }


def _cuts(dual: Dual, levels: Floats) -> list[list[Any]]:
    """Each cut ``m (v-p)(v-q) >= 0`` as ``[i, number of p, number of q, m]``."""
    cuts, rows = dual.cuts, []
    for j in np.flatnonzero(cuts.multiplier > 0):
        ends = (int(np.searchsorted(levels, end[j])) for end in (cuts.low, cuts.high))
        rows.append([int(cuts.first[j]), *ends, float(cuts.sign[j] * cuts.multiplier[j])])
    return rows
