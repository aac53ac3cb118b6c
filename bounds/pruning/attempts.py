"""The pruning methods of the table: each from a problem and a budget to an attempt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from bounds.linalg.forms import form_lower
from bounds.problem.attempt import Attempt, Options
from bounds.problem.gram import Floats, Problem
from bounds.problem.sparsity import Box, Pattern, Sparse
from bounds.pruning.box import box_refit
from bounds.pruning.heuristics import selection
from bounds.pruning.heuristics import swap as exchanges
from bounds.pruning.reduced import Mask, ReducedProblem, reduce_problem
from bounds.pruning.refit import reduced_upper, refit
from bounds.pruning.relaxation.perspective import original_units, proven_multipliers
from bounds.pruning.relaxation.split import split_bounds
from bounds.pruning.search import exact as searching
from bounds.pruning.search import scip as miqp

Budget = Sparse | Pattern


@dataclass(frozen=True)
class Masks:
    """What a method found, in reduced units: masks (channels, m), and as in ``Attempt``."""

    masks: Mask
    lower: ArrayLike = 0.0
    finished: ArrayLike = False
    nodes: ArrayLike = 0
    proof: Sequence[Any] = ()
    notes: tuple[str, ...] = ()


Run = Callable[[ReducedProblem, Problem, Options, Box | None], Masks]


def magnitude(problem: Problem, budget: Budget, options: Options) -> Attempt:
    """Keep the largest weights as they are."""
    return reduced_attempt(problem, budget, options, _largest, refitted=False)


def magnitude_ls(problem: Problem, budget: Budget, options: Options) -> Attempt:
    """Keep the largest weights, fitted again by least squares."""
    return reduced_attempt(problem, budget, options, _largest)


def obs(problem: Problem, budget: Budget, options: Options) -> Attempt:
    """Remove the weight that costs least, one by one."""
    return reduced_attempt(problem, budget, options, lambda r, *_: Masks(selection.backward(r)))


def forward(problem: Problem, budget: Budget, options: Options) -> Attempt:
    """Add the weight that helps most, one by one."""
    return reduced_attempt(problem, budget, options, lambda r, *_: Masks(selection.forward(r)))


def swap(problem: Problem, budget: Budget, options: Options) -> Attempt:
    """Exchange kept for removed weights while that helps."""
    return reduced_attempt(problem, budget, options, _swapped)


def perspective(problem: Problem, budget: Budget, options: Options) -> Attempt:
    """The relaxation's bound beside the weights of ``swap``."""
    return reduced_attempt(problem, budget, options, _relaxed, _swapped)


def perspective_split(problem: Problem, budget: Budget, options: Options) -> Attempt:
    """The relaxation's bound, the line split where one direction of the inputs is nearly flat."""
    return reduced_attempt(problem, budget, options, _relaxed_by_intervals, _swapped)


def scip(problem: Problem, budget: Budget, options: Options) -> Attempt:
    """Every channel by SCIP."""
    return reduced_attempt(problem, budget, options, _by_scip, _swapped)


def exact(problem: Problem, budget: Budget, options: Options) -> Attempt:
    """Search until every channel is proven or at a limit."""
    return reduced_attempt(problem, budget, options, _searched, _swapped, boxed_search=True)


def reduced_attempt(
    problem: Problem,
    budget: Budget,
    options: Options,
    run: Run,
    unproven: Run | None = None,
    *,
    refitted: bool = True,
    boxed_search: bool = False,
) -> Attempt:
    """Reduce the problem, run, fit weights on the masks, and go back to the unit given.

    ``unproven`` runs instead where no bound can be claimed; ``boxed_search``: a finished search
    of ``run`` is one inside the box.
    """
    reduced = reduce_problem(problem, *budget.budget(problem.features), budget.box)
    every, room = (reduced.channels, reduced.size), reduced.capacity.sum()
    if room >= reduced.size or room == 0:
        found = Masks(np.full(every, room > 0), finished=True)
    elif reduced.unbounded:
        found = (unproven or run)(reduced, problem, options, budget.box)
    else:
        found = run(reduced, problem, options, budget.box)
    # Where nothing may be kept the error is the energy, whatever the Gram's conditioning.
    lower = (
        form_lower(problem.gram, problem.weights)
        if room == 0
        else reduced.lower(np.asarray(found.lower, np.float64) + np.zeros(reduced.channels))
    )
    if refitted and room < reduced.size:
        balanced = refit(reduced, found.masks)
    else:
        balanced = np.where(found.masks, reduced.weights, 0.0)
    solution, more = _restored(reduced, found.masks, balanced, budget.box, boxed_search)
    notes = (*reduced.notes, *found.notes, *more)
    return Attempt(solution, lower, found.finished, found.nodes, found.proof, notes)


def _restored(
    reduced: ReducedProblem, masks: Mask, balanced: Floats, box: Box | None, boxed_search: bool
) -> tuple[Floats, tuple[str, ...]]:
    """Weights (channels, n) of fitted reduced weights, inside the box, and remarks on it."""
    if box is None:
        return reduced.restore(balanced), ()
    boxed = box_refit(reduced, masks, balanced, box)
    outside = int((boxed != balanced).any(axis=1).sum())
    full = np.clip(reduced.restore(boxed), box.low, box.high)
    if outside == 0:
        return full, ("The box changes nothing: the least-squares weights lie inside it.",)
    note = f"The box binds in {outside} of {reduced.channels} channels"
    if boxed_search:
        return full, (f"{note}: a finished search is one inside it.",)
    return full, (f"{note}: the weights are refitted inside it, a lower bound is one without it.",)


def _largest(reduced: ReducedProblem, problem: Problem, options: Options, box: Box | None) -> Masks:
    return Masks(selection.magnitude(reduced, problem.weights))


def _swapped(reduced: ReducedProblem, problem: Problem, options: Options, box: Box | None) -> Masks:
    return Masks(exchanges.swap(reduced, problem.weights))


def _relaxed(reduced: ReducedProblem, problem: Problem, options: Options, box: Box | None) -> Masks:
    p, d, lower = proven_multipliers(reduced)
    proof = original_units(reduced, p, d, lower)
    return Masks(exchanges.swap(reduced, problem.weights), lower, proof=proof)


def _relaxed_by_intervals(
    reduced: ReducedProblem, problem: Problem, options: Options, box: Box | None
) -> Masks:
    masks = exchanges.swap(reduced, problem.weights)
    p, d, lower = proven_multipliers(reduced)
    upper = reduced_upper(reduced, refit(reduced, masks))
    # Certificates have no intervals yet: what they carry is the bound of the line as a whole.
    proof = original_units(reduced, p, d, lower)
    return Masks(masks, split_bounds(reduced, lower, upper), proof=proof)


def _by_scip(reduced: ReducedProblem, problem: Problem, options: Options, box: Box | None) -> Masks:
    masks, lower, finished, nodes, notes = miqp.scip(reduced, problem, options.limits, box)
    return Masks(masks, lower, finished, nodes, notes=notes)


def _searched(
    reduced: ReducedProblem, problem: Problem, options: Options, box: Box | None
) -> Masks:
    return Masks(*searching.exact(reduced, problem, options.limits, box))
