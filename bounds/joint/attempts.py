"""The joint methods of the table: each from a problem and a constraint to an attempt."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bounds.joint.heuristics import attained
from bounds.joint.levelled import Floats, Levelled, make_levelled
from bounds.joint.relaxation.verified import proven_dual, solve_dual
from bounds.joint.search import exact as searching
from bounds.linalg.forms import form_lower
from bounds.problem.attempt import Attempt, Options
from bounds.problem.gram import Problem
from bounds.problem.joint import Joint


def prune_quantize(problem: Problem, joint: Joint, options: Options) -> Attempt:
    """OBS and least squares, then rounding to nearest."""
    return _attempt(problem, joint, lambda levelled: _only(levelled, attained.prune_quantize))


def quantize_prune(problem: Problem, joint: Joint, options: Options) -> Attempt:
    """GPTQ, then the cheapest values removed."""
    return _attempt(problem, joint, lambda levelled: _only(levelled, attained.quantize_prune))


def obr(problem: Problem, joint: Joint, options: Options) -> Attempt:
    """OBS, then rounding one by one with compensation."""
    return _attempt(problem, joint, lambda levelled: _only(levelled, attained.obr))


def descent(problem: Problem, joint: Joint, options: Options) -> Attempt:
    """Descent from the weights of the others."""
    return _attempt(problem, joint, lambda levelled: _only(levelled, attained.descent))


def dual(problem: Problem, joint: Joint, options: Options) -> Attempt:
    """The dual's bound beside the weights of descent."""
    return _attempt(problem, joint, _relaxed)


def exact(problem: Problem, joint: Joint, options: Options) -> Attempt:
    """Search until every channel is proven or at a limit."""
    return _attempt(problem, joint, lambda levelled: _searched(levelled, options))


def _attempt(problem: Problem, joint: Joint, run: Callable[[Levelled], Attempt]) -> Attempt:
    """Reduce the problem, run, and go back to the unit given; solutions come as reduced values."""
    levelled = make_levelled(problem, joint)
    reduced = levelled.reduced
    if reduced.capacity.sum() == 0:  # all dead, or nothing may be kept
        lower = form_lower(problem.gram, problem.weights)
        return Attempt(np.zeros_like(problem.weights), lower, True)
    found = run(levelled)
    lower = reduced.lower(np.asarray(found.lower, np.float64) + np.zeros(reduced.channels))
    return Attempt(
        reduced.restore(found.solution),
        lower,
        found.finished,
        found.nodes,
        found.proof,
        reduced.notes,
    )


def _only(levelled: Levelled, method: Callable[[Levelled], Floats]) -> Attempt:
    return Attempt(method(levelled), -np.inf)


def _relaxed(levelled: Levelled) -> Attempt:
    reduced, values = levelled.reduced, attained.descent(levelled)
    proof, lower = [], np.zeros(reduced.channels)
    for c in range(reduced.channels):
        upper = searching.attained(levelled, c, values[c])
        q, d, _ = solve_dual(levelled, c, upper)
        proof.append(proven_dual(levelled, c, q, d))
        lower[c] = searching.reduced_lower(levelled, c, proof[c])
    return Attempt(values, lower, proof=proof)


def _searched(levelled: Levelled, options: Options) -> Attempt:
    found = searching.exact(levelled, options.limits)
    return Attempt(found.values, found.lower, found.finished, found.nodes, found.proof)
