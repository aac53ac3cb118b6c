"""Proofs for quantized channels: a search that the verifier repeats, or multipliers of cuts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bounds.problem.gram import check_problem
from bounds.problem.grid import Grid
from bounds.problem.range import EXACT, HEURISTIC, Range
from bounds.quantization.codes import CodeProblem, make_codes
from bounds.quantization.relaxation.bound import Dual, integer_shift, solve_channel
from bounds.quantization.search.exact import EASY_NODES, STIFF_NODES
from bounds.quantization.search.lattice import Reduction, make_lattice, reduce_chunk
from bounds.quantization.search.shifted import THETAS, shift

Json = dict[str, Any]
Floats = NDArray[np.float64]


def quantization_proofs(
    gram: Floats,
    weights: Floats,
    bits: int,
    scale: ArrayLike,
    found: Range,
    search_nodes: int,
    pairs: int = 0,
) -> Iterator[Iterator[tuple[float, Json]]]:
    """For each channel the claims to try, strongest first, as (lower, proof).

    Args:
        gram: (n, n); weights: (channels, n), rounded as they were solved.
        found: the solver's ranges. Exact ones get a search, if it has at most ``search_nodes``
            nodes, and else, as certified ones, a dual; heuristic ones claim nothing.
        pairs: two-variable cuts a round of the dual.
    """
    problem = check_problem(gram, weights)
    codes = make_codes(problem, Grid.uniform(bits, scale))
    live = np.flatnonzero(problem.live)
    order = codes.factor.order if live.size else np.arange(0)
    reduction = reduce_chunk(codes) if live.size else None
    for c in range(problem.channels):
        yield _claims(codes, c, live, order, found, search_nodes, pairs, reduction)


def _claims(
    codes: CodeProblem,
    c: int,
    live: NDArray,
    order: NDArray,
    found: Range,
    search_nodes: int,
    pairs: int,
    reduction: Reduction | None,
) -> Iterator[tuple[float, Json]]:
    status, nodes = str(found.status[c]), int(found.nodes[c])
    if status == HEURISTIC or not found.lower[c] > 0:
        return
    if status == EXACT and nodes > STIFF_NODES and reduction and reduction.worthwhile:
        proof = _reduced_search(codes, c, live, found, search_nodes, reduction)
        if proof is not None:
            yield float(found.lower[c]), proof
    if status == EXACT and nodes <= min(EASY_NODES, search_nodes):
        none = np.zeros(live.size)
        yield float(found.lower[c]), _search(order, codes.start[c], none, none)
    # A finished search may have needed no multipliers: they are found where its own proof fails.
    dual = found.proof[c] if len(found.proof) else None
    # Those of a dual that channels share are of another kind.
    dual = dual if isinstance(dual, Dual) else solve_channel(codes, c, pairs=pairs)
    if status == EXACT and nodes > EASY_NODES:
        proof = _shifted_search(codes, c, live, dual, found, search_nodes)
        if proof is not None:
            yield float(found.lower[c]), proof
    yield dual.lower, {"is": "dual", "cuts": _cuts(dual)}


def _search(order: NDArray, centre: Floats, cut: Floats, at: Floats) -> dict[str, Any]:
    """Inputs from the one fixed last to the one fixed first; the rest in that order."""
    return {
        "is": "search",
        "order": [int(i) for i in order],
        "centre": [float(x) for x in centre[order]],
        "cut": [float(x) for x in cut[order]],
        "at": [int(x) for x in at[order]],
    }


def _reduced_search(
    codes: CodeProblem,
    c: int,
    live: NDArray,
    found: Range,
    search_nodes: int,
    reduction: Reduction,
) -> Json | None:
    """The search in the channel's reduced basis, whose last column is walked first."""
    lattice = make_lattice(codes.channel(c), reduction)
    incumbent = np.rint(found.weights[c][live] / codes.scale[c])
    if lattice is None or lattice.nodes(lattice.radius(incumbent)) > search_nodes:
        return None
    return {
        "is": "reduced",
        "basis": [[int(x) for x in row] for row in lattice.frame.basis.columns],
        "centre": [float(x) for x in lattice.centred.point[0]],
    }


def _shifted_search(
    codes: CodeProblem, c: int, live: NDArray, dual: Dual, found: Range, search_nodes: int
) -> Json | None:
    """The search with the share of the multipliers whose tree is estimated to be smallest."""
    single = codes.channel(c)
    incumbent = np.rint(found.weights[c][live] / codes.scale[c])
    multiplier, breakpoint = integer_shift(dual, single.features)
    best, smallest = None, float(search_nodes)
    for theta in THETAS:
        trial = shift(single, theta, multiplier / codes.unit, breakpoint)
        if trial is None:
            continue
        size = trial.nodes(trial.radius(incumbent))
        if size <= smallest:
            best, smallest = trial, size
    if best is None:
        return None
    shares = best.multiplier * codes.unit
    return _search(best.factor.order, best.centred.point[0], shares, best.breakpoint)


def _cuts(dual: Dual) -> list[list[Any]]:
    """Each cut ``m (y-p)(y-q) >= 0``, ``y = z_i``, or ``z_i + z_j``, or ``z_i - z_j``.

    As ``[i, 0 or +-(j+1), p, q, m]``: m is positive where y lies on no integer between p and q, and
    negative where y lies between them.
    """
    cuts, rows = dual.cuts, []
    for j in np.flatnonzero(cuts.multiplier > 0):
        second = int(cuts.second[j])
        pair = 0 if second < 0 else int(cuts.pair_sign[j]) * (second + 1)
        weight = float(cuts.sign[j] * cuts.multiplier[j])
        rows.append([int(cuts.first[j]), pair, int(cuts.low[j]), int(cuts.high[j]), weight])
    return rows
