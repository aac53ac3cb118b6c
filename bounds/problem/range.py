"""A range: what is proven, what is attained, and by which weights."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

EXACT = "exact"
CERTIFIED = "certified"
HEURISTIC = "heuristic"

#: Relative gap at which lower and upper count as equal.
TOLERANCE = 1e-9
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
    return float("inf") if lost <= 0 else 10 * float(np.log10(total / lost))


@dataclass(frozen=True)
class Range:
    """Per channel: a proven lower bound on the minimum error, and an error attained.

    Attributes:
        lower: (channels,) proven lower bound, unit of the energy.
        upper: (channels,) error attained by ``weights``, rounded outward.
        energy: (channels,) ``w^T G w``.
        weights: (channels, n) compressed weights that attain ``upper``.
        status: (channels,) ``"exact"``, ``"certified"`` or ``"heuristic"``.
        method: the method that was asked for.
        nodes: (channels,) search nodes visited; zero where nothing was searched.
        seconds: wall time of the whole call.
        notes: remarks a reader of the numbers should see, one sentence each.
    """

    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    energy: NDArray[np.float64]
    weights: NDArray[np.float64]
    status: NDArray[np.str_]
    method: str
    nodes: NDArray[np.int64]
    seconds: float = 0.0
    notes: tuple[str, ...] = field(default=())

    @property
    def snr_bound(self) -> float:
        """SNR in dB that no compressed weights can exceed, over all channels."""
        return snr(self.energy, self.lower)

    @property
    def snr_attained(self) -> float:
        """SNR in dB of ``weights``, over all channels."""
        return snr(self.energy, self.upper)

    def count(self, status: str) -> int:
        """Number of channels with this status."""
        return int((self.status == status).sum())


def make_range(
    lower: ArrayLike,
    upper: ArrayLike,
    energy: NDArray[np.float64],
    weights: NDArray[np.float64],
    *,
    method: str,
    finished: ArrayLike = False,
    nodes: ArrayLike = 0,
    seconds: float = 0.0,
    tolerance: float = TOLERANCE,
    notes: tuple[str, ...] = (),
) -> Range:
    """Assemble a Range and derive each channel's status.

    ``finished`` (channels,) says that a search closed its tree; only then, and only when the proven
    gap is within ``tolerance`` (or below the rounding floor of the energy), is a channel exact.
    A positive lower bound makes it certified; otherwise it is heuristic.
    """
    upper = np.asarray(upper, np.float64)
    lower = np.asarray(lower, np.float64) + np.zeros_like(upper)
    # An attained error refutes a bound above it. Rounding is clipped; anything more proves nothing.
    refuted = ~(lower <= upper * (1 + REFUTED) + ENERGY_FLOOR * energy)
    if refuted.any():
        which = ", ".join(map(str, np.flatnonzero(refuted)))
        notes = (*notes, f"A bound above an attained error was discarded (channels {which}).")
    lower = np.where(refuted, 0.0, np.clip(lower, 0.0, upper))
    closed = upper - lower <= np.maximum(tolerance * upper, ENERGY_FLOOR * energy)
    exact = (np.broadcast_to(finished, upper.shape) & closed & ~refuted) | (upper == 0)
    status = np.where(exact, EXACT, np.where(lower > 0, CERTIFIED, HEURISTIC))
    return Range(
        lower,
        upper,
        energy,
        weights,
        status,
        method,
        np.broadcast_to(np.asarray(nodes, np.int64), upper.shape).copy(),
        seconds,
        notes,
    )
