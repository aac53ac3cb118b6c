"""``joint_range``: how small the error can be with few weights, all on a grid."""

from __future__ import annotations

from dataclasses import replace

from numpy.typing import ArrayLike

from bounds.problem.answer import answer
from bounds.problem.attempt import Options
from bounds.problem.gram import check_problem
from bounds.problem.grid import Grid
from bounds.problem.joint import Joint
from bounds.problem.limits import DEFAULT_SECONDS, Limits
from bounds.problem.methods import JOINT, find_method
from bounds.problem.range import TOLERANCE, Range
from bounds.problem.rule import GridRule
from bounds.problem.sparsity import sparsity
from bounds.quantization.solve import asked_grid


def joint_range(
    gram: ArrayLike,
    weights: ArrayLike,
    *,
    keep: int | None = None,
    bits: int | None = None,
    scale: ArrayLike | str | None = None,
    grid: Grid | GridRule | str | None = None,
    pattern: tuple[int, int] | None = None,
    method: str = "exact",
    time_limit: float | None = DEFAULT_SECONDS,
    node_limit: int | None = None,
    tolerance: float = TOLERANCE,
) -> Range:
    """The range of ``min (v-w)^T G (v-w)`` over ``v`` on a grid with few nonzeros, per channel.

    Args:
        gram: (n, n), raw sum over rows of ``X^T X``; weights: (channels, n).
        keep: most nonzeros per channel, 0..n; or ``pattern``.
        bits, scale: of the grid, as for ``quantization_range``; or ``grid``, as there.
        pattern: (N, M) for at most N nonzeros in every M consecutive inputs.
        method: ``prune-quantize``, ``quantize-prune``, ``obr`` and ``descent`` attain an error
            only; ``dual`` proves a bound beside it; ``exact`` searches until the optimum is proven
            or a limit is met.
        time_limit: seconds per channel of ``exact``, 10 unless given; None for no limit.
        node_limit: search nodes per channel of ``exact``; None for no limit.
        tolerance: relative gap up to which a finished search is called exact, at most 0.1.

    Raises:
        ProblemError: numbers that define no problem, or a grid without zero.
        MethodError: an unknown method.
    """
    find_method(JOINT, method)
    problem = check_problem(gram, weights)
    chosen = asked_grid(problem, bits, scale, grid)
    problem = replace(problem, notes=(*problem.notes, *chosen.remarks(problem.features)))
    options = Options(Limits(time_limit, node_limit))
    return answer(problem, Joint(chosen, sparsity(keep, pattern)), method, options, tolerance)
