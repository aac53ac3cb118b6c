"""Proofs for pruned channels: multipliers of the perspective bound, or a cover of all supports."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bounds.certificate.cover import find_cover
from bounds.problem.gram import Problem, check_problem
from bounds.problem.range import EXACT, HEURISTIC, Range
from bounds.pruning.reduced import ReducedProblem, reduce_problem
from bounds.pruning.relaxation.perspective import Dual, perspective

#: Most leaves of a cover; larger trees claim the dual part only.
LEAVES = 4000

Json = dict[str, Any]
Floats = NDArray[np.float64]


def pruning_proofs(
    gram: Floats, weights: Floats, keep: int, found: Range, tolerance: float
) -> Iterator[Iterator[tuple[float, Json]]]:
    """For each channel the claims to try, strongest first, as (lower, proof).

    Args:
        gram: (n, n); weights: (channels, n), rounded as they were solved.
        keep: most nonzeros.
        found: the solver's ranges. Exact ones get a cover, if its tree stays small, and else, as
            certified ones, a dual; heuristic ones claim nothing.
        tolerance: relative gap that an exact claim may leave.
    """
    problem = check_problem(gram, weights)
    group, capacity = np.zeros(problem.features, np.int64), np.array([keep])
    for c in range(problem.channels):
        single = check_problem(gram, weights[c : c + 1])
        reduced = reduce_problem(single, group, capacity)
        status = str(found.status[c]) if found.lower[c] > 0 else HEURISTIC
        known = found.proof[c] if len(found.proof) else None
        known = known if isinstance(known, Dual) else None  # channels share another kind
        yield _claims(single, reduced, status, float(found.upper[c]), tolerance, known)


def _claims(
    single: Problem,
    reduced: ReducedProblem,
    status: str,
    upper: float,
    tolerance: float,
    known: Dual | None,
) -> Iterator[tuple[float, Json]]:
    if status == HEURISTIC or reduced.capacity.sum() >= reduced.size or reduced.notes:
        return
    if status == EXACT:
        lower = upper * (1 - tolerance / 10)
        gram = single.gram[np.ix_(reduced.index, reduced.index)]
        weights = single.weights[0, reduced.index]
        proof = find_cover(gram, weights, int(reduced.capacity[0]), lower, LEAVES)
        if proof is not None:
            yield lower, proof
    dual = known or perspective(reduced)[0]
    yield (
        dual.lower,
        {
            "is": "dual",
            "p": [float(x) for x in dual.p[reduced.index]],
            "d": [float(x) for x in dual.d[reduced.index]],
        },
    )
