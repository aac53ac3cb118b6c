"""A range: what is proven, what is attained, and by which weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bounds.errors import ProblemError
from bounds.problem.attempt import Attempt
from bounds.problem.checks import real_number
from bounds.problem.constraint import Constraint
from bounds.problem.gram import Problem

EXACT = "exact"
CERTIFIED = "certified"
HEURISTIC = "heuristic"

#: Relative gap at which lower and upper count as equal.
TOLERANCE = 1e-9
#: Largest one that can be asked for: beyond it nothing should be called exact.
LARGEST_TOLERANCE = 0.1
#: Errors below this share of the energy (130 dB SNR) are rounding of the Gram itself.
ENERGY_FLOOR = 1e-13
#: Relative excess of a lower value over an attained one beyond which it is no rounding but false.
REFUTED = 1e-8


def snr(energy: ArrayLike, error: ArrayLike) -> float:
    """``10 log10(sum energy / sum error)`` in dB: sums over channels and chunks, never means of dB.

    Infinite when the error is zero (a zero lower bound excludes no SNR), NaN for zero energy.
    """
    # In a unit in which no sum overflows; a power of two, so that no digit changes.
    unit = -np.frexp(np.max(energy, initial=0.0))[1]
    with np.errstate(over="ignore"):
        total, lost = (float(np.sum(np.ldexp(values, unit))) for values in (energy, error))
    if total <= 0:
        return float("nan")
    return decibels(total, lost)


def decibels(over: float, under: float) -> float:
    """``10 log10(over / under)``: how many dB ``over`` is above ``under``, neither negative.

    Minus infinity where ``over`` is zero (whatever ``under`` is), else infinite where that is.
    """
    if over <= 0:
        return -math.inf
    return math.inf if under <= 0 else 10 * float(np.log10(over / under))


class _Errors(Protocol):
    @property
    def energy(self) -> ArrayLike: ...
    @property
    def lower(self) -> ArrayLike: ...
    @property
    def upper(self) -> ArrayLike: ...


class Bounded:
    """SNR of all that has an ``energy`` and errors proven (``lower``) and attained (``upper``)."""

    @property
    def snr_bound(self: _Errors) -> float:
        """SNR in dB, over all channels, that nothing allowed exceeds: proven."""
        return snr(self.energy, self.lower)

    @property
    def snr_attained(self: _Errors) -> float:
        """SNR in dB, over all channels, of the best weights that were found."""
        return snr(self.energy, self.upper)


def check_tolerance(tolerance: float) -> float:
    """A relative gap from 0 to ``LARGEST_TOLERANCE``.

    Raises:
        ProblemError: anything else.
    """
    wanted = f"a relative gap from 0 to {LARGEST_TOLERANCE}"
    number = real_number("tolerance", tolerance, wanted)
    if not 0 <= number <= LARGEST_TOLERANCE:
        raise ProblemError(f"tolerance must be {wanted}, got {tolerance!r}")
    return number


@dataclass(frozen=True, eq=False, repr=False)
class Range(Bounded):
    """Per channel: a proven lower bound on the minimum error, and an error attained.

    An error is the form ``(v-w)^T G (v-w)`` clamped at 0. A Gram whose stored numbers have slightly
    negative curvature, accepted as rounding, lets the form itself fall below 0; a positive
    ``lower`` bounds the form too, a ``lower`` of 0 does not. ``exact`` counts the fall: it says
    that the form of no other weights is below ``upper`` by more than the tolerance, or by more than
    ``ENERGY_FLOOR`` of the energy; or that ``upper`` is 0, for the weights lose nothing.

    Attributes:
        lower: (channels,) proven lower bound, unit of the energy.
        upper: (channels,) error attained by ``weights``, rounded outward.
        energy: (channels,) ``w^T G w``.
        weights: (channels, n) compressed weights that attain ``upper``.
        status: (channels,) ``"exact"`` (search finished, lower and upper agree), ``"certified"``
            (lower is proven and positive) or ``"heuristic"`` (an attained error only).
        method: the method that was asked for.
        nodes: (channels,) search nodes visited; zero where nothing was searched.
        problem, constraint: what was asked: the Gram matrix and weights, and what ``weights``
            fulfil.
        seconds: wall time of the whole call.
        notes: remarks a reader of the numbers should see, one sentence each.
        proof: one entry a channel, or none at all: the multipliers that prove ``lower``, or None
            where a finished search needed none.
    """

    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    energy: NDArray[np.float64]
    weights: NDArray[np.float64]
    status: NDArray[np.str_]
    method: str
    nodes: NDArray[np.int64]
    problem: Problem
    constraint: Constraint
    seconds: float = 0.0
    notes: tuple[str, ...] = field(default=())
    proof: Sequence[Any] = ()

    def count(self, status: str) -> int:
        """Number of channels with this status."""
        return int((self.status == status).sum())

    def recomputed(self) -> NDArray[np.float64]:
        """The errors (channels,) of ``weights``, evaluated anew from problem and constraint."""
        return self.constraint.errors(self.problem, self.weights)

    def __repr__(self) -> str:
        """One line: what was asked, by which method, and what came out."""
        counts = ((self.count(status), status) for status in (EXACT, CERTIFIED, HEURISTIC))
        settled = ", ".join(f"{count} {status}" for count, status in counts if count)
        return (
            f"Range({self.constraint}, {self.method}: attained {self.snr_attained:.2f} dB, "
            f"at most {self.snr_bound:.2f} dB, {settled})"
        )


def make_range(
    problem: Problem,
    constraint: Constraint,
    method: str,
    attempt: Attempt,
    *,
    seconds: float = 0.0,
    tolerance: float = TOLERANCE,
) -> Range:
    """What an attempt has shown: its own weights evaluated, and each channel's status derived.

    Where a search closed its tree, and only there, and only when the proven gap is within
    ``tolerance`` (or below the rounding floor of the energy), is a channel exact. A positive lower
    bound makes it certified; otherwise it is heuristic.

    Raises:
        ProblemError: an attained error is beyond float64.
    """
    upper = constraint.errors(problem, attempt.solution)
    if not np.isfinite(upper).all():
        raise ProblemError("an attained error is beyond float64; rescale gram or weights")
    energy = problem.energy
    finished = np.broadcast_to(attempt.finished, upper.shape)
    lower = np.asarray(attempt.lower, np.float64) + np.zeros_like(upper)
    notes = (*problem.notes, *attempt.notes)
    # An attained error refutes a bound above it. Rounding is clipped; anything more proves nothing.
    refuted = ~(lower <= upper * (1 + REFUTED) + ENERGY_FLOOR * energy)
    if refuted.any():
        which = ", ".join(map(str, np.flatnonzero(refuted)))
        notes = (*notes, f"A bound above an attained error was discarded (channels {which}).")
    proven = np.where(refuted, 0.0, np.minimum(lower, upper))  # of the form, so maybe below zero
    lower = np.maximum(proven, 0.0)
    closed = upper - proven <= np.maximum(tolerance * upper, ENERGY_FLOOR * energy)
    exact = (finished & closed & ~refuted) | (upper == 0)
    if (hidden := finished & ~exact & ~refuted & (proven < 0)).any():
        which = ", ".join(map(str, np.flatnonzero(hidden)))
        notes = (
            *notes,
            "The search finished, but errors this small are hidden by what rounding of the Gram "
            f"may add or take (channels {which}).",
        )
    status = np.where(exact, EXACT, np.where(lower > 0, CERTIFIED, HEURISTIC))
    return Range(
        lower,
        upper,
        energy,
        attempt.solution,
        status,
        method,
        np.broadcast_to(np.asarray(attempt.nodes, np.int64), upper.shape).copy(),
        problem,
        constraint,
        seconds,
        notes,
        attempt.proof,
    )
