"""Rows of a study, one per method, reduced to what is known: the best range per chunk and layer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bounds.errors import StudyError
from bounds.problem.methods import PRUNING, QUANTIZATION, searches
from bounds.problem.range import Bounded, snr
from bounds.results.row import Row
from bounds.results.table import as_rows, read_results
from bounds.results.verdicts import Verdict, decide


@dataclass(frozen=True)
class BestKnown(Bounded):
    """What the methods of a study know about one problem; errors in the unit of the energy.

    Attributes:
        energy: summed over channels, as are all errors here.
        lower, upper: largest error proven and smallest attained, by any method.
        relaxation_bound, heuristic_error: the same by the methods that do not search (all, if
            there are none).
        channels: how many channel problems these are.
        exact, certified: how many of them the methods settled, or proved something about.
    """

    energy: float
    lower: float
    upper: float
    relaxation_bound: float
    heuristic_error: float
    channels: int
    exact: int
    certified: int

    def __add__(self, other: BestKnown) -> BestKnown:
        """Sums over chunks, each compressed by itself."""
        return BestKnown(
            *(a + b for a, b in zip(vars(self).values(), vars(other).values(), strict=True))
        )

    @property
    def snr_relaxation(self) -> float:
        """SNR bound in dB without search."""
        return snr(self.energy, self.relaxation_bound)

    @property
    def snr_heuristic(self) -> float:
        """SNR in dB attained without search."""
        return snr(self.energy, self.heuristic_error)

    @property
    def snr_optimum(self) -> float:
        """The optimal SNR in dB; NaN unless every channel is settled."""
        return self.snr_attained if self.exact == self.channels else float("nan")


@dataclass(frozen=True)
class Pair:
    """Both problems on the same weights at the same storage.

    ``chunk`` is None for a sum over the ``chunks`` of a layer. Such a sum is not the layer's own
    error, which the Gram blocks between chunks enter.
    """

    source: str
    layer: str
    chunk: int | None
    chunks: int
    bits: int
    quantization: BestKnown
    pruning: BestKnown

    @property
    def verdict(self) -> Verdict:
        """Which of the two is proven better."""
        q, p = self.quantization, self.pruning
        return decide((q.lower, q.upper), (p.lower, p.upper))


def load_rows(path: str | Path) -> list[Row]:
    """The rows of a study's results.

    Args:
        path: ``results.parquet`` or its folder.

    Raises:
        StudyError: missing, damaged, not a table of results, or without rows.
    """
    table, _ = read_results(Path(path))
    if table.num_rows == 0:
        raise StudyError(f"{path} has no rows: every task failed, see failures.json beside it")
    return as_rows(table)


def chunk_pairs(rows: Iterable[Row]) -> list[Pair]:
    """One pair per chunk and bit width where both problems have rows, in the order of ``rows``."""
    groups: dict[tuple[str, str, int, int], dict[str, list[Row]]] = {}
    for (source, layer, chunk, bits, problem), found in group_rows(rows).items():
        groups.setdefault((source, layer, chunk, bits), {})[problem] = found
    return [
        Pair(
            source=source,
            layer=layer,
            chunk=chunk,
            chunks=1,
            bits=bits,
            quantization=best_known(found[QUANTIZATION]),
            pruning=best_known(found[PRUNING]),
        )
        for (source, layer, chunk, bits), found in groups.items()
        if QUANTIZATION in found and PRUNING in found
    ]


def layer_pairs(pairs: Iterable[Pair]) -> list[Pair]:
    """Pairs of chunks summed over the chunks of every layer: one per layer and bit width."""
    sums: dict[tuple[str, str, int], Pair] = {}
    for pair in pairs:
        place = (pair.source, pair.layer, pair.bits)
        so_far = sums.get(place)
        sums[place] = Pair(
            source=pair.source,
            layer=pair.layer,
            chunk=None,
            chunks=1 if so_far is None else so_far.chunks + 1,
            bits=pair.bits,
            quantization=pair.quantization
            if so_far is None
            else so_far.quantization + pair.quantization,
            pruning=pair.pruning if so_far is None else so_far.pruning + pair.pruning,
        )
    return list(sums.values())


def group_rows(rows: Iterable[Row]) -> dict[tuple[str, str, int, int, str], list[Row]]:
    """Rows of one problem, one a method, by (source, layer, chunk, bits, problem).

    Those on grids of the whole layer are left out; ``bounds.results.formats`` is about them.
    """
    groups: dict[tuple[str, str, int, int, str], list[Row]] = {}
    for row in rows:
        if row.grid:
            continue
        place = (row.source, row.layer, row.chunk, row.bits, row.problem)
        groups.setdefault(place, []).append(row)
    return groups


def best_known(rows: Sequence[Row]) -> BestKnown:
    """What rows of one problem, one a method, know about it together."""
    fast = [row for row in rows if row.method not in searches()] or rows
    exact = max(row.exact for row in rows)
    return BestKnown(
        energy=rows[0].energy,
        lower=max(row.lower for row in rows),
        upper=min(row.upper for row in rows),
        relaxation_bound=max(row.lower for row in fast),
        heuristic_error=min(row.upper for row in fast),
        channels=rows[0].channels,
        exact=exact,
        certified=max(row.exact + row.certified for row in rows) - exact,
    )
