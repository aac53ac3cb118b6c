"""From a problem, a constraint and the name of a method to a range."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np

from bounds.errors import Interrupted, MethodError
from bounds.problem.attempt import Attempt, Options
from bounds.problem.constraint import Constraint
from bounds.problem.gram import Problem
from bounds.problem.kernels import compile_kernels
from bounds.problem.methods import Method, find_method, taking
from bounds.problem.range import TOLERANCE, Range, check_tolerance, make_range
from bounds.problem.scaling import Scaling
from bounds.problem.slices import Progress, attempt_slices


def answer(
    problem: Problem,
    constraint: Constraint,
    method: str,
    options: Options | None = None,
    tolerance: float = TOLERANCE,
    progress: Progress | None = None,
) -> Range:
    """The range of the error of ``problem`` under ``constraint``, by any method of the table.

    Numbers far from one are brought near it by powers of two for the method, and its results
    brought back; attained errors are always evaluated on the problem as it was given.

    Args:
        problem: from ``check_problem``.
        constraint: a ``Grid``, ``Sparse`` or ``Pattern``, or one of your own.
        method: a name of the table, see ``bounds.problem.methods``.
        options: limits, seed and the like; those the method does not take are ignored, but
            two-variable cuts, which are refused.
        tolerance: relative gap up to which a finished search is called exact, at most 0.1.
        progress: called with the channels done so far, every few of them; the range is the same.

    Raises:
        Interrupted: Ctrl-C when some channels were finished and somebody follows the progress; it
            has their range.
        ProblemError: a constraint that does not belong to the problem, or no such tolerance.
        MethodError: unknown method, or one that cannot do what is asked.
    """
    tolerance = check_tolerance(tolerance)
    options = options or Options()
    chosen = find_method(constraint.kind, method)
    _check_able(chosen, constraint, options)
    constraint.check(problem)
    run = chosen.load()
    compile_kernels(chosen)  # before any clock starts
    began = time.perf_counter()
    scaling = constraint.scaling(problem)
    inner, demand = problem, constraint
    if scaling is not None:
        inner, demand = scaling.problem(problem), constraint.scaled(scaling)
    stopped = False
    if progress is None or chosen.together:
        attempt: Attempt = run(inner, demand, options)
    else:
        attempt, stopped = attempt_slices(
            lambda rows: run(
                inner.rows(rows), demand.rows(rows), replace(options, first=rows.start)
            ),
            problem.channels,
            progress,
        )
    done = slice(len(attempt.solution))
    if stopped:
        problem, constraint = problem.rows(done), constraint.rows(done)
    if scaling is not None:
        attempt = _unscaled(attempt, replace(scaling, rows=scaling.rows[done]))
    found = make_range(problem, constraint, method, attempt, tolerance=tolerance)
    found = replace(found, seconds=time.perf_counter() - began)
    if stopped:
        raise Interrupted(found)
    return found


def _unscaled(attempt: Attempt, scaling: Scaling) -> Attempt:
    """What was found in other units, in the unit given."""
    zeros = np.zeros(len(attempt.solution))
    return replace(
        attempt,
        solution=scaling.weights(attempt.solution),
        lower=scaling.lower_errors(np.asarray(attempt.lower, np.float64) + zeros),
        proof=tuple(
            None if one is None else one.scaled(scaling.gram, int(scaling.rows[c]))
            for c, one in enumerate(attempt.proof)
        ),
    )


def _check_able(chosen: Method, constraint: Constraint, options: Options) -> None:
    wanted = constraint.asks | ({"pairs"} if options.pairs else set())
    for what in sorted(wanted - chosen.takes):
        able = taking(chosen.kind, what)
        if not able:
            raise MethodError(
                f"no {chosen.kind} method takes {what}: {constraint} cannot be solved"
            )
        raise MethodError(f"{what} is for the methods {' and '.join(able)}, not for {chosen.name}")
