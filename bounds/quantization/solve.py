"""``quantization_range``: how small the error can be on a grid, proven, and how small it gets."""

from __future__ import annotations

from dataclasses import replace

from numpy.typing import ArrayLike

from bounds.errors import ProblemError
from bounds.problem.answer import answer
from bounds.problem.attempt import Options
from bounds.problem.gram import Problem, check_problem
from bounds.problem.grid import RULES, Grid, choose_scale
from bounds.problem.limits import DEFAULT_SECONDS, Limits
from bounds.problem.methods import QUANTIZATION, find_method
from bounds.problem.range import TOLERANCE, Range
from bounds.problem.rule import GridRule, grid_for


def quantization_range(
    gram: ArrayLike,
    weights: ArrayLike,
    *,
    bits: int | None = None,
    scale: ArrayLike | str | None = None,
    grid: Grid | GridRule | str | None = None,
    method: str = "exact",
    time_limit: float | None = DEFAULT_SECONDS,
    node_limit: int | None = None,
    tolerance: float = TOLERANCE,
    seed: int = 0,
    pairs: int = 0,
) -> Range:
    """The range of ``min (v-w)^T G (v-w)`` over ``v = s z``, ``z`` integer of ``bits`` bits.

    Or over the points of any ``grid``, such as one with steps for groups of inputs.

    Args:
        gram: (n, n), raw sum over rows of ``X^T X``; weights: (channels, n).
        bits: codes are -2^(b-1) .. 2^(b-1)-1.
        scale: the step ``s``, one for all channels or (channels,); or a rule that chooses it from
            the weights, see ``choose_scale``: ``mse``, ``minmax``, ``mse-channel``,
            ``minmax-channel``.
        grid: in place of ``bits`` and ``scale``: a grid, or a rule that makes one from the weights
            (``GridRule``), or its text, such as ``int4-g128`` or ``nf4``.
        method: ``rtn``, ``gptq``, ``descent`` and ``beam`` attain an error only; ``sdp`` and
            ``park-boyd`` prove a bound by our dual solver (the latter also rounds its solution at
            random), ``sdp-scs`` by cvxpy and SCS; ``exact`` searches until the optimum is proven
            or a limit is met.
        time_limit: seconds per channel, 10 unless given; None for no limit.
        node_limit: search nodes per channel; None for no limit. Unlike seconds, the same result on
            every machine.
        tolerance: relative gap up to which a finished search is called exact, at most 0.1.
        seed: of the random roundings.
        pairs: two-variable cuts ``(z_i +- z_j - k)(z_i +- z_j - k - 1) >= 0`` that each of three
            rounds of ``sdp`` and ``park-boyd`` may add to the relaxation, the most violated first.
            The bound never falls; with ``pairs`` = n it rises by 0.5 to 0.9 dB at n = 36, for nine
            times the time. Other methods do not take it.

    Raises:
        ProblemError: numbers that define no problem.  MethodError: unknown method.

    Reference: Kuzmin et al., *Pruning vs Quantization: Which is Better?*, NeurIPS 2023, Section 4.
    """
    find_method(QUANTIZATION, method)
    problem = check_problem(gram, weights)
    chosen = _grid(problem, bits, scale, grid)
    problem = replace(problem, notes=(*problem.notes, *chosen.remarks(problem.features)))
    options = Options(Limits(time_limit, node_limit), seed, pairs)
    return answer(problem, chosen, method, options, tolerance)


def _grid(
    problem: Problem,
    bits: int | None,
    scale: ArrayLike | str | None,
    grid: Grid | GridRule | str | None,
) -> Grid:
    if grid is not None:
        if bits is not None or scale is not None:
            raise ProblemError("give either a grid or bits and scale, not both")
        return grid_for(grid, problem.weights)
    if bits is None:
        raise ProblemError("bits must be a whole number, with a scale, unless a grid is given")
    if isinstance(scale, str):
        if scale not in RULES:
            raise ProblemError(
                f"scale must be a positive number, one per channel, or one of {RULES}, "
                f"got {scale!r}"
            )
        scale = choose_scale(problem.weights, bits, scale)
    if scale is None:
        raise ProblemError(
            f"scale must be a positive number, one per channel, or one of {RULES}, got None"
        )
    return Grid.uniform(bits, scale)
