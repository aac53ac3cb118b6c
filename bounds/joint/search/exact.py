"""Exact search of every channel: incumbent, root dual, tree, proof.

Rounding: the tree works with inverses of ``M = S - D`` whose smallest eigenvalue is verified to
stay above ``floor``. Every term of a node's bound is one of error, none larger than the incumbent
but by what the multipliers are off, and eliminations on a positive definite matrix are backward
stable, so a computed cost or bound is within

    margin = SAFETY * 4 (m+2) u trace(G) / floor * incumbent

of its exact value (Higham, *Accuracy and Stability*, ch. 10). A node is dropped only if its bound
exceeds the incumbent by more than that, and every solution within reach of the incumbent is handed
out and evaluated in extended precision. So a finished search proves the least of these, or cutoff
less margin, and an interrupted one the least bound among its open nodes, less the margin.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bounds.joint.heuristics.attained import descent
from bounds.joint.heuristics.descent import descend
from bounds.joint.levelled import Levelled
from bounds.joint.relaxation.verified import JointDual, proven_dual, rows_of, solve_dual
from bounds.joint.search.light import Incumbent
from bounds.joint.search.tree import new_search, open_bound, search_on
from bounds.linalg.definite import eigenvalue_lower_bound
from bounds.linalg.forms import form_upper
from bounds.problem.limits import Limits

Floats = NDArray[np.float64]

#: Solutions within the margin of the incumbent that are re-evaluated.
LEAVES = 4096
SAFETY = 8.0
#: With a margin above this share of the incumbent only small trees can be closed: so many nodes.
HOPELESS, HOPELESS_NODES = 0.2, 200_000
#: Operations between two looks at the clock.
WORK = 3e7
#: Of the root's dual: the search needs no more.
ACCURACY, STEPS = 3e-3, 60


@dataclass(frozen=True)
class Found:
    """Values (channels, m), lower bounds in reduced units, and as in ``Attempt``."""

    values: Floats
    lower: Floats
    finished: NDArray[np.bool_]
    nodes: NDArray[np.int64]
    proof: Sequence[JointDual | None]


def exact(levelled: Levelled, limits: Limits) -> Found:
    """Search every channel until proven or at a limit."""
    values = descent(levelled)
    channels = levelled.channels
    lower, nodes = np.zeros(channels), np.zeros(channels, np.int64)
    finished = np.zeros(channels, bool)
    proof: list[JointDual | None] = []
    for c in range(channels):
        values[c], lower[c], finished[c], nodes[c], dual = explore(levelled, c, values[c], limits)
        proof.append(dual)
    return Found(values, lower, finished, nodes, proof)


def attained(levelled: Levelled, c: int, values: Floats) -> float:
    """Reduced error of values (m,), rounded up."""
    reduced = levelled.reduced
    difference = values.astype(np.longdouble) - reduced.weights[c]
    return float(form_upper(reduced.gram, difference[None])[0])


def explore(
    levelled: Levelled, c: int, values: Floats, limits: Limits
) -> tuple[Floats, float, bool, int, JointDual | None]:
    """Search channel ``c`` from attained ``values`` (m,).

    Returns (values, lower bound in reduced units, finished, nodes, dual of an unfinished search).
    """
    reduced = levelled.reduced
    upper = attained(levelled, c, values)
    if upper == 0:
        return values, 0.0, True, 0, None
    began = time.perf_counter()
    rows = rows_of(levelled, c)
    q, d, bound = solve_dual(levelled, c, upper, ACCURACY, STEPS)
    rounded = rounded_dual(levelled, c, q, d)
    descend(rows, rounded)
    error = attained(levelled, c, rounded)
    if error < upper:
        values, upper = rounded, error
    matrix = reduced.gram - np.diag(d)
    floor = eigenvalue_lower_bound(matrix) - 2.0**-50
    if not (floor > 0 and np.isfinite(bound)):
        q, d = np.zeros_like(q), np.full_like(d, 0.5 * reduced.eigen)
        matrix = reduced.gram - np.diag(d)
        floor = max(eigenvalue_lower_bound(matrix) - 2.0**-50, 0.4 * reduced.eigen)
    unit = 4.0 * (reduced.size + 2) * 2.0**-53 * float(np.trace(reduced.gram))
    margin = SAFETY * unit / floor * upper
    allowed = 1 << 60 if limits.nodes is None else limits.nodes
    if margin > HOPELESS * upper:
        allowed = min(allowed, HOPELESS_NODES)
    incumbent = Incumbent(
        np.array([upper + 2 * margin]), 2 * margin, np.zeros((LEAVES, reduced.size)),
        np.zeros(1, np.int64),
    )  # fmt: skip
    inverse = np.ascontiguousarray(np.linalg.inv(matrix))
    search = new_search(rows, q, d, (inverse + inverse.T) / 2)
    nodes = 0
    while search.at[0] >= 0 and nodes < allowed:
        if limits.seconds is not None and time.perf_counter() - began > limits.seconds:
            break
        nodes += search_on(search, rows, d, incumbent, WORK, allowed - nodes)
    found = int(incumbent.found[0])
    listed = np.vstack((incumbent.leaves[: min(found, LEAVES)], values[None]))
    proven = levelled.errors_lower(c, listed)
    best = listed[int(np.argmin(proven))]
    if attained(levelled, c, best) < upper:
        values = best
    finished = bool(search.at[0] < 0)
    # Where the list ran over, what was left out is no better than what ended the search.
    lower = float(incumbent.cutoff[0]) - (1 if found <= LEAVES else 3) * margin
    lower = min(lower, float(proven.min()))
    if finished:
        return values, lower, True, nodes, None
    lower = min(lower, open_bound(search) - margin)
    q, d, _ = solve_dual(levelled, c, upper)
    dual = proven_dual(levelled, c, q, d)
    return values, max(lower, reduced_lower(levelled, c, dual)), False, nodes, dual


def reduced_lower(levelled: Levelled, c: int, dual: JointDual) -> float:
    """The bound of a dual in reduced units, rounded down."""
    reduced, scale = levelled.reduced, float(levelled.reduced.row_scale[c])
    return (dual.lower + reduced.excess[c]) * scale * scale * (1 - 2.0**-50)


def rounded_dual(levelled: Levelled, c: int, q: Floats, d: Floats) -> Floats:
    """The options (m,) that the root's multipliers choose, as many nonzero as there is room."""
    reduced, points = levelled.reduced, levelled.points(c)
    w = reduced.weights[c]
    offset = points - w[:, None]
    cost = d[:, None] * offset * offset - 2 * q[:, None] * offset
    choice = np.argmin(cost, axis=1)
    gain = w * (d * w + 2 * q) - cost.min(axis=1)
    values = np.zeros_like(w)
    for group, room in enumerate(reduced.capacity):
        own = np.flatnonzero((reduced.group == group) & (gain > 0))
        own = own[np.argsort(-gain[own], kind="stable")][:room]
        values[own] = points[own, choice[own]]
    return values
