"""Verdicts: which of quantization and pruning is proven better, by how many dB, and up to where."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bounds.problem.methods import PRUNING, QUANTIZATION
from bounds.problem.range import TOLERANCE, decibels

UNDECIDED = "undecided"
#: How sure a verdict on a whole layer is.
PROVEN, LIKELY = "proven", "likely"


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
    # The SNR of an error attained less that of a lower bound: the errors' ratio, the other way up.
    leads = {
        QUANTIZATION: decibels(pruning[0], quantization[1]),
        PRUNING: decibels(quantization[0], pruning[1]),
    }
    winner = max(leads, key=lambda name: leads[name])
    margin = leads[winner]
    proven = margin > decibels(1 + tolerance, 1)
    return Verdict(winner if proven else UNDECIDED, margin)


def weigh(
    quantization: tuple[float, float], pruning: tuple[float, float], volume: float
) -> tuple[str, Verdict]:
    """``PROVEN``, ``LIKELY`` or ``UNDECIDED``, and who wins by how much.

    Likely is what the volume bound says of quantization where proof does not reach: pruning attains
    less than ``volume``, which quantized weights undercut with the bound's own probability at most,
    over where the grid lies. No such bound speaks of pruning.
    """
    verdict = decide(quantization, pruning)
    if verdict.winner != UNDECIDED:
        return PROVEN, verdict
    lead = decibels(volume, pruning[1])
    if lead > 0:
        return LIKELY, Verdict(PRUNING, lead)
    return UNDECIDED, verdict


@dataclass(frozen=True)
class Crossover:
    """Where pruning stops being better and quantization starts, over the bit widths of a study.

    ``pruning_to`` is the largest width such that pruning is proven better at it and at all below;
    ``quantization_from`` the smallest such that quantization is at it and at all above. Either is
    None where there is no such width.
    """

    pruning_to: int | None
    quantization_from: int | None

    def __str__(self) -> str:
        """In words, as tables have it: ``below 2``, ``2 to 4``, ``above 8`` or ``open``."""
        low, high = self.pruning_to, self.quantization_from
        if low is None:
            return "open" if high is None else f"below {high}"
        return f"above {low}" if high is None else f"{low} to {high}"

    @property
    def words(self) -> str:
        """In a sentence's words: who is better up to which width, and from which width on."""
        low, high = self.pruning_to, self.quantization_from
        parts = [f"pruning up to {low} bits"] if low is not None else []
        parts += [f"quantization from {high} bits on"] if high is not None else []
        return ", ".join(parts) or "open at every width"


def crossover(verdicts: Mapping[int, Verdict]) -> Crossover:
    """The crossover of one layer.

    Args:
        verdicts: by bit width.
    """
    widths = sorted(verdicts)
    return Crossover(
        _run(verdicts, widths, PRUNING), _run(verdicts, list(reversed(widths)), QUANTIZATION)
    )


def _run(verdicts: Mapping[int, Verdict], widths: list[int], winner: str) -> int | None:
    """The last of ``widths`` before another than ``winner`` wins."""
    last = None
    for width in widths:
        if verdicts[width].winner != winner:
            break
        last = width
    return last
