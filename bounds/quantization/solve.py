"""Quantization of a chunk: how small the error can be on a grid, proven, and how small it gets."""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bounds.errors import MethodError, ProblemError, SolverError
from bounds.problem.gram import check_problem
from bounds.problem.grid import check_scale, choose_scale, integer_range
from bounds.problem.limits import Limits
from bounds.problem.range import TOLERANCE, Range, make_range
from bounds.problem.scaling import find_units
from bounds.quantization.codes import CodeProblem, check_reach, make_codes
from bounds.quantization.heuristics import attained as heuristics
from bounds.quantization.relaxation.bound import solve_channel, solve_channel_scs
from bounds.quantization.search.exact import search

#: Methods whose relaxation takes two-variable cuts.
PAIRED = ("sdp", "park-boyd")
METHODS = ("rtn", "gptq", "descent", "beam", "park-boyd", "sdp", "sdp-scs", "exact")

__all__ = ["METHODS", "choose_scale", "quantization_range"]

Floats = NDArray[np.float64]


def quantization_range(
    gram: ArrayLike,
    weights: ArrayLike,
    *,
    bits: int,
    scale: ArrayLike,
    method: str = "exact",
    time_limit: float | None = None,
    node_limit: int | None = None,
    tolerance: float = TOLERANCE,
    seed: int = 0,
    pairs: int = 0,
) -> Range:
    """The range of ``min (v-w)^T G (v-w)`` over ``v = s z``, ``z`` integer of ``bits`` bits.

    Args:
        gram: (n, n), raw sum over rows of ``X^T X``; weights: (channels, n).
        bits: codes are -2^(b-1) .. 2^(b-1)-1.
        scale: the step ``s``, one for all channels or (channels,).
        method: ``rtn``, ``gptq``, ``descent`` and ``beam`` attain an error only; ``sdp`` and
            ``park-boyd`` prove a bound by our dual solver (the latter also rounds its solution at
            random), ``sdp-scs`` by cvxpy and SCS; ``exact`` searches until the optimum is proven
            or a limit is met.
        time_limit: seconds per channel; node_limit: search nodes per channel.
        tolerance: relative gap up to which a finished search is called exact.
        seed: of the random roundings.
        pairs: two-variable cuts ``(z_i +- z_j - k)(z_i +- z_j - k - 1) >= 0`` that each of three
            rounds of ``sdp`` and ``park-boyd`` may add to the relaxation, the most violated first.
            The bound never falls; with ``pairs`` = n it rises by 0.5 to 0.9 dB at n = 36, for nine
            times the time. Other methods do not take it.

    Raises:
        ProblemError: numbers that define no problem.  MethodError: unknown method.

    Reference: Kuzmin et al., *Pruning vs Quantization: Which is Better?*, NeurIPS 2023, Section 4.
    """
    begin = time.perf_counter()
    if method not in METHODS:
        raise MethodError(
            f"unknown quantization method {method!r}; choose from {', '.join(METHODS)}"
        )
    problem = check_problem(gram, weights)
    check_pairs(pairs, method)
    limits = Limits(time_limit, node_limit)
    lo, hi = integer_range(bits)
    scale = check_scale(scale, problem.channels)
    check_reach(problem, scale)  # named in the user's own numbers
    if units := find_units(problem, scale):
        found = quantization_range(
            units.scaled_gram(problem.gram),
            units.scaled(problem.weights, "weights"),
            bits=bits,
            scale=units.scaled(scale, "steps"),
            method=method,
            time_limit=time_limit,
            node_limit=node_limit,
            tolerance=tolerance,
            seed=seed,
            pairs=pairs,
        )
        weights = units.weights(found.weights)
        return units.range_of(found, problem, units.upper(found), weights, tolerance)
    codes = make_codes(problem, scale, lo, hi)
    lower: ArrayLike = 0.0
    finished: ArrayLike = False
    nodes: ArrayLike = 0
    notes: tuple[str, ...] = ()
    if codes.features == 0:
        found, finished = codes.targets, True  # every input is dead: nothing can be lost
    elif method == "rtn":
        found = heuristics.nearest(codes)
    elif method == "gptq":
        found = heuristics.gptq_codes(codes)
    elif method == "beam":
        found = heuristics.beam(codes)
    elif method == "exact":
        answer = search(codes, heuristics.descent(codes), limits)
        found, lower, finished, nodes = answer.codes, answer.lower, answer.finished, answer.nodes
    else:
        found = heuristics.descent(codes)
        if method != "descent":
            found, lower, notes = relax(codes, found, method, limits, seed, pairs)
    return make_range(
        lower,
        codes.errors(found),
        problem.energy,
        codes.full_weights(found),
        method=method,
        finished=finished,
        nodes=nodes,
        seconds=time.perf_counter() - begin,
        tolerance=tolerance,
        notes=notes,
    )


def check_pairs(pairs: int, method: str) -> None:
    """Raise for a number of two-variable cuts that is none, or that the method cannot use."""
    if not isinstance(pairs, int | np.integer) or isinstance(pairs, bool) or pairs < 0:
        raise ProblemError(f"pairs must be a whole number from 0, got {pairs!r}")
    if pairs and method not in PAIRED:
        raise MethodError(f"pairs is for the methods {' and '.join(PAIRED)}, not for {method}")


def relax(
    codes: CodeProblem, found: Floats, method: str, limits: Limits, seed: int, pairs: int
) -> tuple[Floats, Floats, tuple[str, ...]]:
    """Codes (channels, n), verified lower bounds (channels,) and notes of the relaxation methods.

    A channel on which SCS gives nothing keeps the lower bound 0, and a note says why.
    """
    found = found.copy()
    lower = np.zeros(codes.channels)
    notes: list[str] = []
    for c in range(codes.channels):
        try:
            scs = method == "sdp-scs"
            dual = (
                solve_channel_scs(codes, c, limits.seconds)
                if scs
                else solve_channel(codes, c, pairs=pairs)
            )
        except SolverError as error:
            notes.append(f"channel {c} has no bound: {error}")
            continue
        lower[c] = dual.lower
        if method != "sdp":
            rounded = heuristics.park_boyd(codes, c, dual, seed)
            pair = np.stack([found[c], rounded])
            found[c] = pair[int(np.argmin(codes.channel(c).costs(pair)))]
    return found, lower, tuple(notes)
