"""``pruning_range``: from a Gram matrix and weights to a proven range, by any method."""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import ArrayLike

from bounds.errors import MethodError
from bounds.problem.gram import Floats, Problem, check_problem, form_lower
from bounds.problem.limits import Limits
from bounds.problem.range import Range, make_range
from bounds.problem.scaling import find_units
from bounds.problem.sparsity import budget
from bounds.pruning.box import box_refit, paper_box
from bounds.pruning.heuristics.selection import backward, forward, magnitude
from bounds.pruning.heuristics.swap import swap
from bounds.pruning.reduced import Box, Mask, ReducedProblem, reduce_problem
from bounds.pruning.refit import refit
from bounds.pruning.relaxation.perspective import proven_multipliers
from bounds.pruning.search.exact import exact
from bounds.pruning.search.scip import scip

METHODS = (
    "magnitude",
    "magnitude-ls",
    "obs",
    "forward",
    "swap",
    "perspective",
    "scip",
    "exact",
)
#: Methods that prove something; the others only attain an error.
SEARCHES = ("perspective", "scip", "exact")


def pruning_range(
    gram: ArrayLike,
    weights: ArrayLike,
    *,
    keep: int | None = None,
    method: str = "exact",
    box: float | None = None,
    pattern: tuple[int, int] | None = None,
    time_limit: float | None = None,
    node_limit: int | None = None,
    tolerance: float = 1e-9,
) -> Range:
    """The range of ``min (v-w)^T G (v-w)`` over ``v`` with few nonzeros, per channel.

    Args:
        gram: (n, n) Gram matrix of the inputs, symmetric positive semidefinite.
        weights: (channels, n) or (n,).
        keep: most nonzeros per channel, 0..n.
        method: one of ``METHODS``. The first five give an attained error (``heuristic``);
            ``perspective`` adds a proven bound, ``exact`` and ``scip`` search.
        box: factor c (the paper: 2) confining every weight to
            ``[-c max(0, -min w), c max(0, max w)]`` over all ``weights``. ``exact`` and ``scip``
            search inside it; the bound of ``perspective`` is one without it, so valid too.
        pattern: (N, M) for at most N nonzeros in every M consecutive inputs, counted from the
            first; instead of ``keep``. A shorter last group may hold N too.
        time_limit: seconds per channel, for ``exact`` and ``scip``.
        node_limit: search nodes per channel, for ``exact`` and ``scip``.
        tolerance: relative gap up to which a finished search counts as ``exact``.

    Raises:
        ProblemError: data, ``keep``, ``pattern``, ``box`` or limits out of range.
        MethodError: an unknown method, or one that needs a package that is not installed.
    """
    began = time.perf_counter()
    if method not in METHODS:
        raise MethodError(f"unknown pruning method {method!r}; choose one of {', '.join(METHODS)}")
    problem = check_problem(gram, weights)
    limits = Limits(time_limit, node_limit)
    group, capacity = budget(problem.features, keep, pattern)
    sizes = np.abs(problem.weights).max(axis=1)
    if units := find_units(problem, sizes, together=box is not None):
        found = pruning_range(
            units.scaled_gram(problem.gram),
            units.scaled(problem.weights, "weights"),
            keep=keep,
            method=method,
            box=box,
            pattern=pattern,
            time_limit=time_limit,
            node_limit=node_limit,
            tolerance=tolerance,
        )
        fitted = units.weights(found.weights)
        return units.range_of(found, problem, problem.errors(fitted), fitted, tolerance)
    bounds = None if box is None else paper_box(problem, box)
    core = reduce_problem(problem, group, capacity, bounds)
    notes = core.notes
    lower, finished, nodes = np.zeros(core.channels), np.zeros(core.channels, bool), 0
    if core.capacity.sum() >= core.size:
        masks = np.ones((core.channels, core.size), bool)
        finished = ~finished
    elif core.capacity.sum() == 0:
        masks = np.zeros((core.channels, core.size), bool)
        finished = ~finished
    elif core.unbounded:
        masks = (
            swap(core, problem.weights) if method in SEARCHES else _select(method, core, problem)
        )
    elif method == "exact":
        masks, lower, finished, nodes = exact(core, problem, limits, bounds)
    elif method == "scip":
        masks, lower, finished, nodes, more = scip(core, problem, limits, bounds)
        notes = (*notes, *more)
    elif method == "perspective":
        masks, lower = swap(core, problem.weights), proven_multipliers(core)[2]
    else:
        masks = _select(method, core, problem)
    # nothing may be kept: the error is the energy, whatever the Gram's conditioning
    nothing = core.capacity.sum() == 0
    proven = form_lower(problem.gram, problem.weights) if nothing else core.lower(lower)
    fitted, more = _fit(core, masks, method, bounds, problem)
    attained = problem.errors(fitted)
    return make_range(
        proven,
        attained,
        problem.energy,
        fitted,
        method=method,
        finished=finished,
        nodes=nodes,
        seconds=time.perf_counter() - began,
        tolerance=tolerance,
        notes=(*notes, *more),
    )


def _select(method: str, core: ReducedProblem, problem: Problem) -> Mask:
    if method == "obs":
        return backward(core)
    if method == "forward":
        return forward(core)
    if method == "swap":
        return swap(core, problem.weights)
    return magnitude(core, problem.weights)


def _fit(
    core: ReducedProblem, masks: Mask, method: str, box: Box | None, problem: Problem
) -> tuple[Floats, tuple[str, ...]]:
    """Weights (channels, n) on ``masks`` and remarks on the box."""
    if method == "magnitude" or core.capacity.sum() >= core.size:
        balanced = np.where(masks, core.weights, 0.0)
    else:
        balanced = refit(core, masks)
    if box is None:
        return core.restore(balanced), ()
    boxed = box_refit(core, masks, balanced, box)
    outside = int((boxed != balanced).any(axis=1).sum())
    full = np.clip(core.restore(boxed), box.low, box.high)
    if outside == 0:
        return full, ("The box changes nothing: the least-squares weights lie inside it.",)
    note = f"The box binds in {outside} of {core.channels} channels"
    if method == "exact":
        return full, (f"{note}: a finished search is one inside it.",)
    return full, (f"{note}: the weights are refitted inside it, a lower bound is one without it.",)
