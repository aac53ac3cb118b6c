"""Verdicts: which of quantization and pruning is proven better, and by how many dB."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bounds.result import TOLERANCE
from bounds.study.problems import PRUNING, QUANTIZATION

UNDECIDED = "undecided"


@dataclass(frozen=True)
class Verdict:
    """Who wins, and the margin in dB.

    ``margin`` is the SNR the winner attains less the most that the other can reach, so the proven
    lead; where nobody is proven to win it is negative: what the ranges still overlap by.
    """

    winner: str
    margin: float


def decide(
    quantization: tuple[float, float], pruning: tuple[float, float], tolerance: float = TOLERANCE
) -> Verdict:
    """Compare the ranges (lower, upper) of two errors measured against the same energy.

    Quantization wins when no pruning can reach the error it attains: its upper is below pruning's
    lower, by more than the relative ``tolerance`` to which bounds are computed; and the other way.
    """
    leads = {
        QUANTIZATION: _lead(quantization[1], pruning[0]),
        PRUNING: _lead(pruning[1], quantization[0]),
    }
    winner = max(leads, key=lambda name: leads[name])
    margin = leads[winner]
    proven = margin > 10 * np.log10(1 + tolerance)
    return Verdict(winner if proven else UNDECIDED, margin)


def _lead(attained: float, bound: float) -> float:
    """SNR of an error attained less the SNR of a lower bound: 10 log10(bound / attained)."""
    if bound <= 0:
        return -np.inf
    return np.inf if attained <= 0 else float(10 * np.log10(bound / attained))
