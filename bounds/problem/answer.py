"""From a problem, a constraint and the name of a method to a range."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np

from bounds.errors import MethodError
from bounds.problem.attempt import Attempt, Options
from bounds.problem.constraint import Constraint
from bounds.problem.gram import Problem
from bounds.problem.kernels import compile_kernels
from bounds.problem.methods import Method, find_method, taking
from bounds.problem.range import TOLERANCE, Range, make_range


def answer(
    problem: Problem,
    constraint: Constraint,
    method: str,
    options: Options | None = None,
    tolerance: float = TOLERANCE,
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
        tolerance: relative gap up to which a finished search is called exact.

    Raises:
        ProblemError: a constraint that does not belong to the problem.
        MethodError: unknown method, or one that cannot do what is asked.
    """
    options = options or Options()
    chosen = find_method(constraint.kind, method)
    _check_able(chosen, constraint, options)
    constraint.check(problem)
    run = chosen.load()
    compile_kernels(chosen)  # before any clock starts
    began = time.perf_counter()
    scaling = constraint.scaling(problem)
    if scaling is None:
        attempt = run(problem, constraint, options)
    else:
        inner: Attempt = run(scaling.problem(problem), constraint.scaled(scaling), options)
        zeros = np.zeros(problem.channels)
        attempt = replace(
            inner,
            solution=scaling.weights(inner.solution),
            lower=scaling.lower_errors(np.asarray(inner.lower, np.float64) + zeros),
            proof=tuple(
                None if one is None else one.scaled(scaling.gram, int(scaling.rows[c]))
                for c, one in enumerate(inner.proof)
            ),
        )
    found = make_range(problem, constraint, method, attempt, tolerance=tolerance)
    return replace(found, seconds=time.perf_counter() - began)


def _check_able(chosen: Method, constraint: Constraint, options: Options) -> None:
    wanted = constraint.asks | ({"pairs"} if options.pairs else set())
    for what in sorted(wanted - chosen.takes):
        able = taking(chosen.kind, what)
        raise MethodError(f"{what} is for the methods {' and '.join(able)}, not for {chosen.name}")
