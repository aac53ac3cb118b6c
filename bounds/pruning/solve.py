"""``pruning_range``: how small the error can be with few weights, proven, and how small it gets."""

from __future__ import annotations

from numpy.typing import ArrayLike

from bounds.problem.answer import answer
from bounds.problem.attempt import Options
from bounds.problem.gram import check_problem
from bounds.problem.limits import DEFAULT_SECONDS, Limits
from bounds.problem.methods import PRUNING, find_method
from bounds.problem.range import TOLERANCE, Range
from bounds.problem.sparsity import paper_box, sparsity


def pruning_range(
    gram: ArrayLike,
    weights: ArrayLike,
    *,
    keep: int | None = None,
    method: str = "exact",
    box: float | None = None,
    pattern: tuple[int, int] | None = None,
    time_limit: float | None = DEFAULT_SECONDS,
    node_limit: int | None = None,
    tolerance: float = TOLERANCE,
) -> Range:
    """The range of ``min (v-w)^T G (v-w)`` over ``v`` with few nonzeros, per channel.

    Args:
        gram: (n, n) Gram matrix of the inputs, symmetric positive semidefinite.
        weights: (channels, n) or (n,).
        keep: most nonzeros per channel, 0..n.
        method: a pruning method of the table (``bounds.problem.methods``), such as ``obs`` or
            ``swap`` for an attained error (``heuristic``), ``perspective`` for a proven bound
            beside it, ``exact`` and ``scip`` for a search.
        box: factor c (the paper: 2) confining every weight to
            ``[-c max(0, -min w), c max(0, max w)]`` over all ``weights``. ``exact`` and ``scip``
            search inside it; the bound of ``perspective`` is one without it, so valid too.
        pattern: (N, M) for at most N nonzeros in every M consecutive inputs, counted from the
            first; instead of ``keep``. A shorter last group may hold N too.
        time_limit: seconds per channel, for ``exact`` and ``scip``, 10 unless given; None for no
            limit.
        node_limit: search nodes per channel, for ``exact`` and ``scip``; None for no limit. Unlike
            seconds, the same result on every machine.
        tolerance: relative gap up to which a finished search counts as ``exact``, at most 0.1.

    Raises:
        ProblemError: data, ``keep``, ``pattern``, ``box`` or limits out of range.
        MethodError: an unknown method, or one that needs a package that is not installed.
    """
    find_method(PRUNING, method)
    problem = check_problem(gram, weights)
    edges = None if box is None else paper_box(problem.weights, box)
    options = Options(Limits(time_limit, node_limit))
    return answer(problem, sparsity(keep, pattern, edges), method, options, tolerance)
