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
from bounds.pruning.reduced import Core, Mask, make_core
from bounds.pruning.refit import refit
from bounds.pruning.relaxation.perspective import original_units, proven_multipliers
from bounds.pruning.search import exact as searching
from bounds.pruning.search import scip as miqp

Budget = Sparse | Pattern


@dataclass(frozen=True)
class Masks:
    """What a method found, in core units: masks (channels, m), and as in ``Attempt``."""

    masks: Mask
    lower: ArrayLike = 0.0
    finished: ArrayLike = False
    nodes: ArrayLike = 0
    proof: Sequence[Any] = ()
    notes: tuple[str, ...] = ()


Run = Callable[[Core, Problem, Options, Box | None], Masks]


def magnitude(problem: Problem, budget: Budget, options: Options) -> Attempt:
    """Keep the largest weights as they are."""
    return _attempt(problem, budget, options, _largest, refitted=False)


def magnitude_ls(problem: Problem, budget: Budget, options: Options) -> Attempt:
    """Keep the largest weights, fitted again by least squares."""
    return _attempt(problem, budget, options, _largest)


def obs(problem: Problem, budget: Budget, options: Options) -> Attempt:
    """Remove the weight that costs least, one by one."""
    return _attempt(problem, budget, options, lambda core, *_: Masks(selection.backward(core)))


def forward(problem: Problem, budget: Budget, options: Options) -> Attempt:
    """Add the weight that helps most, one by one."""
    return _attempt(problem, budget, options, lambda core, *_: Masks(selection.forward(core)))


def swap(problem: Problem, budget: Budget, options: Options) -> Attempt:
    """Exchange kept for removed weights while that helps."""
    return _attempt(problem, budget, options, _swapped)


def perspective(problem: Problem, budget: Budget, options: Options) -> Attempt:
    """The relaxation's bound beside the weights of ``swap``."""
    return _attempt(problem, budget, options, _relaxed, _swapped)


def scip(problem: Problem, budget: Budget, options: Options) -> Attempt:
    """Every channel by SCIP."""
    return _attempt(problem, budget, options, _by_scip, _swapped)


def exact(problem: Problem, budget: Budget, options: Options) -> Attempt:
    """Search until every channel is proven or at a limit."""
    return _attempt(problem, budget, options, _searched, _swapped, boxed_search=True)


def _attempt(
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
    core = make_core(problem, *budget.budget(problem.features), budget.box)
    every, room = (core.channels, core.size), core.capacity.sum()
    if room >= core.size or room == 0:
        found = Masks(np.full(every, room > 0), finished=True)
    elif core.unbounded:
        found = (unproven or run)(core, problem, options, budget.box)
    else:
        found = run(core, problem, options, budget.box)
    # Where nothing may be kept the error is the energy, whatever the Gram's conditioning.
    lower = (
        form_lower(problem.gram, problem.weights)
        if room == 0
        else core.lower(np.asarray(found.lower, np.float64) + np.zeros(core.channels))
    )
    if refitted and room < core.size:
        balanced = refit(core, found.masks)
    else:
        balanced = np.where(found.masks, core.weights, 0.0)
    solution, more = _restored(core, found.masks, balanced, budget.box, boxed_search)
    notes = (*core.notes, *found.notes, *more)
    return Attempt(solution, lower, found.finished, found.nodes, found.proof, notes)


def _restored(
    core: Core, masks: Mask, balanced: Floats, box: Box | None, boxed_search: bool
) -> tuple[Floats, tuple[str, ...]]:
    """Weights (channels, n) of fitted core weights, inside the box, and remarks on it."""
    if box is None:
        return core.restore(balanced), ()
    boxed = box_refit(core, masks, balanced, box)
    outside = int((boxed != balanced).any(axis=1).sum())
    full = np.clip(core.restore(boxed), box.low, box.high)
    if outside == 0:
        return full, ("The box changes nothing: the least-squares weights lie inside it.",)
    note = f"The box binds in {outside} of {core.channels} channels"
    if boxed_search:
        return full, (f"{note}: a finished search is one inside it.",)
    return full, (f"{note}: the weights are refitted inside it, a lower bound is one without it.",)


def _largest(core: Core, problem: Problem, options: Options, box: Box | None) -> Masks:
    return Masks(selection.magnitude(core, problem.weights))


def _swapped(core: Core, problem: Problem, options: Options, box: Box | None) -> Masks:
    return Masks(exchanges.swap(core, problem.weights))


def _relaxed(core: Core, problem: Problem, options: Options, box: Box | None) -> Masks:
    p, d, lower = proven_multipliers(core)
    proof = original_units(core, p, d, lower)
    return Masks(exchanges.swap(core, problem.weights), lower, proof=proof)


def _by_scip(core: Core, problem: Problem, options: Options, box: Box | None) -> Masks:
    masks, lower, finished, nodes, notes = miqp.scip(core, problem, options.limits, box)
    return Masks(masks, lower, finished, nodes, notes=notes)


def _searched(core: Core, problem: Problem, options: Options, box: Box | None) -> Masks:
    return Masks(*searching.exact(core, problem, options.limits, box))
