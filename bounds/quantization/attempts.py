"""The quantization methods of the table: each from a problem and a grid to an attempt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bounds.errors import MethodError, SolverError
from bounds.problem.attempt import Attempt, Options
from bounds.problem.gram import Problem
from bounds.problem.grid import Grid
from bounds.quantization.codes import CodeProblem, has_codes, make_codes
from bounds.quantization.heuristics import attained
from bounds.quantization.levels import LevelProblem, make_levels
from bounds.quantization.relaxation.bound import Dual, solve_channel, solve_channel_scs
from bounds.quantization.search.exact import search

Floats = NDArray[np.float64]
Codes = CodeProblem | LevelProblem


def normalised(problem: Problem, grid: Grid) -> Codes:
    """The problem in codes where one step a channel allows it, else in levels."""
    return make_codes(problem, grid) if has_codes(grid) else make_levels(problem, grid)


def rtn(problem: Problem, grid: Grid, options: Options) -> Attempt:
    """Round to nearest."""
    return _attained(problem, grid, attained.nearest)


def gptq(problem: Problem, grid: Grid, options: Options) -> Attempt:
    """GPTQ with activation order and its usual damping."""
    return _attained(problem, grid, attained.gptq_codes)


def descent(problem: Problem, grid: Grid, options: Options) -> Attempt:
    """Descent with pair moves from several roundings."""
    return _attained(problem, grid, attained.descent)


def beam(problem: Problem, grid: Grid, options: Options) -> Attempt:
    """Beam search, then descent."""
    return _attained(problem, grid, attained.beam)


def sdp(problem: Problem, grid: Grid, options: Options) -> Attempt:
    """The relaxation's bound beside the codes of descent."""
    return _relaxed(problem, grid, options, _own_dual, rounding=False)


def park_boyd(problem: Problem, grid: Grid, options: Options) -> Attempt:
    """The relaxation's bound, and its solution rounded at random."""
    return _relaxed(problem, grid, options, _own_dual, rounding=True)


def sdp_scs(problem: Problem, grid: Grid, options: Options) -> Attempt:
    """As ``park_boyd``, the multipliers coming from cvxpy and SCS."""
    return _relaxed(problem, grid, options, _scs_dual, rounding=True)


def exact(problem: Problem, grid: Grid, options: Options) -> Attempt:
    """Search until every channel is proven or at a limit."""
    codes = normalised(problem, grid)
    if codes.features == 0:
        return _all_dead(codes)
    found = search(codes, attained.descent(codes), options.limits)
    solution = codes.full_weights(found.codes)
    return Attempt(solution, found.lower, found.finished, found.nodes, found.proof)


def _attained(problem: Problem, grid: Grid, rounding: Callable[[Codes], Floats]) -> Attempt:
    codes = normalised(problem, grid)
    if codes.features == 0:
        return _all_dead(codes)
    return Attempt(codes.full_weights(rounding(codes)))


def _all_dead(codes: Codes) -> Attempt:
    """Every input is dead: nothing can be lost."""
    return Attempt(codes.full_weights(codes.targets), finished=True)


def _own_dual(codes: Codes, c: int, options: Options) -> Dual:
    if options.pairs and isinstance(codes, LevelProblem):
        raise MethodError(
            "pairs is for integers of one step a channel, not for groups or other levels"
        )
    return solve_channel(codes, c, pairs=options.pairs)


def _scs_dual(codes: Codes, c: int, options: Options) -> Dual:
    return solve_channel_scs(codes, c, options.limits.seconds)


def _relaxed(
    problem: Problem,
    grid: Grid,
    options: Options,
    dual_of: Callable[[Codes, int, Options], Dual],
    rounding: bool,
) -> Attempt:
    """Verified bounds of a relaxation, beside codes of descent or better ones.

    A channel on which a solver gives nothing keeps the lower bound 0, and a note says why.
    """
    codes = normalised(problem, grid)
    if codes.features == 0:
        return _all_dead(codes)
    found = attained.descent(codes)
    lower = np.zeros(codes.channels)
    proof: list[Dual | None] = []
    notes: list[str] = []
    for c in range(codes.channels):
        try:
            dual = dual_of(codes, c, options)
        except SolverError as error:
            notes.append(f"channel {c} has no bound: {error}")
            proof.append(None)
            continue
        lower[c] = dual.lower
        if rounding:
            rounded = attained.park_boyd(codes, c, dual, (options.seed, options.first + c))
            pair = np.stack([found[c], rounded])
            found[c] = pair[int(np.argmin(codes.channel(c).costs(pair)))]
        proof.append(replace(dual, covariance=None))  # large, and proves nothing
    return Attempt(codes.full_weights(found), lower, proof=proof, notes=tuple(notes))
