"""Results of the fair fight: rows, and what they say at equal true bits.

At B bits a weight each chunk of a layer takes a side's best setting of at most B bits; errors are
summed over chunks. An attained error is one of explicit weights; a bound holds for every setting of
that side that was solved, and for the best step where the side's name says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from bounds.errors import StudyError
from bounds.problem.range import snr
from bounds.results.files import write_whole

PRUNING, SHARED, N_OF_M = "pruning, equal k", "pruning, shared budget", "pruning N:M"
RULED, TENSOR = "quantization, MSE step", "quantization, best step"
CHANNEL = "quantization, best step a channel"
JOINT, JOINT_N_OF_M = "joint", "joint N:M"
OUTLIERS = "quantization, outliers kept"
FAMILIES = (PRUNING, SHARED, N_OF_M, RULED, TENSOR, CHANNEL, JOINT, JOINT_N_OF_M, OUTLIERS)
#: The three ways to spend bits that the verdict is about.
SIDES = {
    "pruning": (PRUNING, SHARED, N_OF_M),
    "quantization": (RULED, TENSOR, CHANNEL, OUTLIERS),
    "joint": (JOINT, JOINT_N_OF_M),
}
ACCOUNTS = ("entropy", "mask")
UNDECIDED = "undecided"


@dataclass(frozen=True)
class FairRow:
    """One side at one setting, on the sampled channels of one chunk.

    Attributes:
        family: one of ``FAMILIES``; setting: in words.
        bits_entropy, bits_mask: true bits a weight, masks at their entropy or a bit a weight.
        lower, upper, energy: summed over channels; exact: how many of ``channels`` are proven.
    """

    layer: str
    chunk: int
    channels: int
    features: int
    family: str
    setting: str
    bits_entropy: float
    bits_mask: float
    energy: float
    lower: float
    upper: float
    exact: int
    seconds: float

    def bits(self, account: str) -> float:
        """True bits a weight by one of ``ACCOUNTS``."""
        return self.bits_entropy if account == "entropy" else self.bits_mask


def write_fair(path: Path, rows: Sequence[FairRow]) -> None:
    """Write rows as parquet."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist([asdict(row) for row in rows])
    write_whole(path, lambda temporary: pq.write_table(table, temporary))


def read_fair(path: Path) -> list[FairRow]:
    """Rows of a file that ``write_fair`` wrote.

    Raises:
        StudyError: no such file, or other columns.
    """
    import pyarrow.parquet as pq

    if not path.is_file():
        raise StudyError(f"{path} does not exist; run the fair study first")
    records: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    names = {f.name for f in fields(FairRow)}
    if records and set(records[0]) != names:
        raise StudyError(f"{path} was not written by the fair study of this version")
    return [FairRow(**record) for record in records]


def at_bits(
    rows: Iterable[FairRow], families: Sequence[str], bits: float, account: str = "entropy"
) -> tuple[float, float, float] | None:
    """Energy, lower and upper of the best of ``families`` at ``bits``, summed over chunks.

    None where some chunk has no setting of so few bits.
    """
    chunks: dict[tuple[str, int], list[FairRow]] = {}
    every = set()
    for row in rows:
        every.add((row.layer, row.chunk))
        if row.family in families and row.bits(account) <= bits + 1e-9:
            chunks.setdefault((row.layer, row.chunk), []).append(row)
    if not every or len(chunks) < len(every):
        return None
    energy = sum(group[0].energy for group in chunks.values())
    lower = sum(min(row.lower for row in group) for group in chunks.values())
    upper = sum(min(row.upper for row in group) for group in chunks.values())
    return energy, lower, upper


@dataclass(frozen=True)
class FairVerdict:
    """Who is best on one layer at ``bits``: one of ``SIDES``, or ``UNDECIDED``.

    ``margin``: dB by which the winner's attained SNR exceeds every other side's bound, or, if
    undecided, the best bound of another side exceeds the best attained. ``attained`` and ``bound``:
    SNR of every side that has a setting.
    """

    layer: str
    bits: float
    account: str
    winner: str
    margin: float
    attained: dict[str, float]
    bound: dict[str, float]


def fair_verdicts(
    rows: Sequence[FairRow], bits: Iterable[float], account: str = "entropy"
) -> list[FairVerdict]:
    """Verdicts of every layer at every number of bits."""
    found = []
    for layer in sorted({row.layer for row in rows}):
        own = [row for row in rows if row.layer == layer]
        for b in bits:
            attained, bound = {}, {}
            for side, families in SIDES.items():
                sums = at_bits(own, families, b, account)
                if sums is not None:
                    energy, lower, upper = sums
                    attained[side], bound[side] = snr(energy, upper), snr(energy, lower)
            if not attained:
                continue
            best = max(attained, key=lambda side: attained[side])
            others = [value for side, value in bound.items() if side != best]
            margin = attained[best] - max(others, default=-np.inf)
            winner = best if margin >= 0 else UNDECIDED
            found.append(FairVerdict(layer, b, account, winner, abs(margin), attained, bound))
    return found
