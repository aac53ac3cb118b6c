"""The methods that treat a layer's channels together: each from a problem to an attempt."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from bounds.layer.kept import Kept
from bounds.layer.levels import make_levels
from bounds.layer.polish import polished
from bounds.layer.proven import SharedDual, proven_values
from bounds.layer.shared import SAMPLE, Layer, moves, refine, share_diagonal
from bounds.linalg.balance import power_of_two_balance
from bounds.linalg.verified import verified_factor
from bounds.problem.attempt import Attempt, Options
from bounds.problem.gram import Problem
from bounds.problem.grid import Grid
from bounds.problem.methods import QUANTIZATION, find_method
from bounds.problem.sparsity import Box, Pattern, Sparse
from bounds.pruning.attempts import Masks, reduced_attempt
from bounds.pruning.heuristics.selection import backward, magnitude
from bounds.pruning.reduced import Mask, ReducedProblem
from bounds.pruning.refit import reduced_upper, refit

Floats = NDArray[np.float64]

#: Channels times cubed inputs up to which weights are eliminated one by one.
ELIMINATIONS = 2e9
SINGULAR = (
    "The Gram matrix is not verified positive definite, so that one dual for all channels proves "
    "nothing; GPTQ's damping, or fewer inputs, make a bound possible."
)


def sdp_shared(problem: Problem, grid: Grid, options: Options) -> Attempt:
    """One diagonal for all channels, each with its own linear multipliers."""
    return _shared(problem, grid, options, own=False)


def sdp_refined(problem: Problem, grid: Grid, options: Options) -> Attempt:
    """The shared diagonal, then a few steps with each channel's own."""
    return _shared(problem, grid, options, own=True)


def _shared(problem: Problem, grid: Grid, options: Options, own: bool) -> Attempt:
    live = problem.live
    solution = _start(problem, grid, options)
    if not live.any():
        return Attempt(solution, finished=True)
    balance = power_of_two_balance(np.diag(problem.gram))[live]
    gram = np.ascontiguousarray(problem.gram[np.ix_(live, live)] * balance * balance[:, None])
    weights = np.ascontiguousarray(problem.weights[:, live] / balance)
    given = make_levels(grid, problem.channels, live)
    levels = given.balanced(balance)
    places = polished(gram, weights, levels, given.nearest(solution[:, live]))
    solution = solution.copy()
    solution[:, live] = given.values(places)
    factor = verified_factor(gram)
    if factor is None:
        none = (None,) * problem.channels
        return Attempt(solution, proof=none, notes=(SINGULAR,))
    layer = Layer(gram, weights, levels)
    diagonals, multiplier, lower, _ = _proven(layer, factor.smallest, own)
    proof = _duals(problem, live, balance, diagonals, multiplier, lower)
    return Attempt(solution, lower, proof=proof)


def _proven(layer: Layer, least: float, own: bool) -> tuple[Floats, Floats, Floats, Floats]:
    """Diagonals and multipliers (channels, n), the bounds (channels,) they prove, and moves.

    Where ``own``, every channel with a bound goes on by itself from the shared diagonal.
    """
    count = len(layer.weights)
    chosen = np.unique(np.linspace(0, count - 1, min(count, SAMPLE)).astype(np.int64))
    diagonal, penalty = share_diagonal(layer.rows(chosen), least)
    move = moves(layer, diagonal, penalty)
    diagonal, multiplier, lower = proven_values(layer, diagonal, move)
    diagonals = np.broadcast_to(diagonal, multiplier.shape)
    if own:
        diagonals = diagonals.copy()
        for c in np.flatnonzero(lower > 0):
            one = slice(c, c + 1)
            channel = layer.rows(one)
            found = refine(channel, diagonal, move[one], penalty, float(lower[c]))
            trial = proven_values(channel, found[0], found[1][None])
            if trial[2][0] > lower[c]:
                diagonals[c], multiplier[c], lower[c] = trial[0], trial[1][0], trial[2][0]
    return diagonals, multiplier, lower, move


def perspective_shared(problem: Problem, budget: Sparse | Pattern, options: Options) -> Attempt:
    """One diagonal for the perspective bounds of all channels."""
    return reduced_attempt(problem, budget, options, partial(_kept, own=False), _magnitude)


def perspective_refined(problem: Problem, budget: Sparse | Pattern, options: Options) -> Attempt:
    """The shared diagonal, then a few steps with each channel's own."""
    return reduced_attempt(problem, budget, options, partial(_kept, own=True), _magnitude)


def _magnitude(
    reduced: ReducedProblem, problem: Problem, options: Options, box: Box | None
) -> Masks:
    return Masks(magnitude(reduced, problem.weights))


def _kept(
    reduced: ReducedProblem, problem: Problem, options: Options, box: Box | None, own: bool
) -> Masks:
    """Bounds of the reduced problem, beside the better of two choices of weights."""
    start = np.append(np.flatnonzero(np.diff(reduced.group, prepend=-1)), reduced.size)
    rule = Kept(start, reduced.capacity)
    layer = Layer(reduced.gram, reduced.weights, rule)
    diagonals, multiplier, lower, move = _proven(layer, reduced.eigen, own)
    small = reduced.channels * reduced.size**3 <= ELIMINATIONS
    masks = backward(reduced) if small else magnitude(reduced, problem.weights)
    other = _largest(np.abs(reduced.weights + move), rule)
    first, second = (reduced_upper(reduced, refit(reduced, one)) for one in (masks, other))
    masks = np.where((second < first)[:, None], other, masks)
    return Masks(masks, lower, proof=_kept_duals(reduced, diagonals, multiplier, lower))


def _largest(size: Floats, rule: Kept) -> Mask:
    """The largest of every group, as many as it may keep."""
    masks = np.zeros(size.shape, np.bool_)
    for first, last, count in zip(rule.start[:-1], rule.start[1:], rule.capacity, strict=True):
        order = np.argsort(-size[:, first:last], axis=1, kind="stable")[:, :count]
        np.put_along_axis(masks[:, first:last], order, True, axis=1)
    return masks


def _kept_duals(
    reduced: ReducedProblem, diagonals: Floats, multiplier: Floats, lower: Floats
) -> list[SharedDual]:
    full = np.zeros((2, reduced.channels, reduced.features))
    full[0][:, reduced.index] = diagonals / reduced.scale**2
    full[1][:, reduced.index] = multiplier / reduced.scale / reduced.row_scale[:, None]
    proven = (reduced.lower_of(c, x) for c, x in enumerate(lower))
    return [SharedDual(*one) for one in zip(*full, proven, strict=True)]


def _start(problem: Problem, grid: Grid, options: Options) -> Floats:
    """Weights (channels, n) of GPTQ, or the nearest ones where it does not know the grid."""
    gptq = find_method(QUANTIZATION, "gptq")
    if grid.asks <= gptq.takes:
        return gptq.load()(problem, grid, options).solution
    return grid.values(grid.codes(problem.weights))


def _duals(
    problem: Problem,
    live: NDArray[np.bool_],
    balance: Floats,
    diagonals: Floats,
    multiplier: Floats,
    lower: Floats,
) -> list[SharedDual]:
    """Multipliers in the unit given; a diagonal that is shared stays one array."""
    full = np.zeros(problem.weights.shape)
    full[:, live] = multiplier / balance
    found: list[SharedDual] = []
    for c in range(problem.channels):
        if found and np.shares_memory(diagonals[c], diagonals[c - 1]):
            diagonal = found[-1].diagonal
        else:
            diagonal = np.zeros(problem.features)
            diagonal[live] = diagonals[c] / balance**2
        found.append(SharedDual(diagonal, full[c], float(lower[c])))
    return found
