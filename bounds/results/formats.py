"""Grids of a study against each other: what each attains and can attain, at its true bits.

Every grid was chosen in the whole layer; errors are summed over the chunks that were solved, the
same ones for every grid. One grid is proven better than another on a layer where what it attains
beats everything that the other could ever attain.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from bounds.problem.range import TOLERANCE, decibels, snr
from bounds.results.ranges import BestKnown, best_known
from bounds.results.row import Row


@dataclass(frozen=True)
class FormatResult:
    """One grid on one layer.

    Attributes:
        source, layer: where; grid: text of its rule; bits: true bits a weight.
        chunks: how many the errors are summed over; features: the most inputs of one.
        known: proven and attained, by any method.
        attained: error attained by each method that does not search.
    """

    source: str
    layer: str
    grid: str
    bits: float
    chunks: int
    features: int
    known: BestKnown
    attained: Mapping[str, float]

    def snr_of(self, method: str) -> float:
        """SNR in dB that a method attains."""
        return snr(self.known.energy, self.attained[method])

    def leads(self, other: FormatResult) -> float:
        """dB by which it is proven better than ``other``: negative where it is not."""
        return decibels(other.known.lower, self.known.upper)


def format_results(rows: Iterable[Row]) -> list[FormatResult]:
    """One result per layer and grid, in the order of ``rows``; those without a grid are left out.

    A chunk counts where every grid of the layer has rows, so that all are about the same weights.
    """
    groups: dict[tuple[str, str], dict[str, dict[int, list[Row]]]] = {}
    for row in rows:
        if row.grid:
            grids = groups.setdefault((row.source, row.layer), {})
            grids.setdefault(row.grid, {}).setdefault(row.chunk, []).append(row)
    found = []
    for (source, layer), grids in groups.items():
        common = set.intersection(*(set(chunks) for chunks in grids.values()))
        for grid, chunks in grids.items():
            if common:
                rows_of = [chunks[chunk] for chunk in sorted(common)]
                found.append(_result(source, layer, grid, rows_of))
    return found


def _result(source: str, layer: str, grid: str, chunks: list[list[Row]]) -> FormatResult:
    known = best_known(chunks[0])
    for rows in chunks[1:]:
        known += best_known(rows)
    methods = set.intersection(*({row.method for row in rows} for rows in chunks))
    attained = {
        method: sum(row.upper for rows in chunks for row in rows if row.method == method)
        for method in dict.fromkeys(row.method for row in chunks[0])
        if method in methods
    }
    first = chunks[0][0]
    bits = float(first.bits) if first.storage is None else first.storage
    features = max(rows[0].features for rows in chunks)
    return FormatResult(source, layer, grid, bits, len(chunks), features, known, attained)


def proven_better(results: Iterable[FormatResult]) -> dict[tuple[str, str], list[tuple[str, str]]]:
    """The pairs (better, worse) of grids that are proven on each layer, by (source, layer)."""
    least = decibels(1 + TOLERANCE, 1)
    layers: dict[tuple[str, str], list[FormatResult]] = {}
    for one in results:
        layers.setdefault((one.source, one.layer), []).append(one)
    return {
        place: [(a.grid, b.grid) for a in group for b in group if a.leads(b) > least]
        for place, group in layers.items()
    }


def format_records(results: Iterable[FormatResult]) -> list[dict[str, Any]]:
    """One flat record per layer and grid, for CSV; SNR in dB."""
    results = list(results)
    better = proven_better(results)
    methods = list(dict.fromkeys(method for one in results for method in one.attained))
    return [
        {
            "source": one.source,
            "layer": one.layer,
            "grid": one.grid,
            "true_bits": one.bits,
            "chunks": one.chunks,
            "features": one.features,
            "channels": one.known.channels,
            **{
                m.replace("-", "_"): one.snr_of(m) if m in one.attained else float("nan")
                for m in methods
            },
            "attained": one.known.snr_attained,
            "bound": one.known.snr_bound,
            "exact": one.known.exact,
            "beats": " ".join(b for a, b in better[one.source, one.layer] if a == one.grid),
        }
        for one in results
    ]


def statement(results: Iterable[FormatResult]) -> list[str]:
    """Who is proven best, in sentences: over all layers, pair by pair."""
    results = list(results)
    better = proven_better(results)
    names = list(dict.fromkeys(one.grid for one in results))
    bits = {name: [one.bits for one in results if one.grid == name] for name in names}
    wins = {
        (a, b): sum((a, b) in pairs for pairs in better.values())
        for a in names
        for b in names
        if a != b
    }
    lines = []
    for a in sorted(names, key=lambda name: -sum(wins[name, b] for b in names if b != name)):
        parts = [f"{b} on {wins[a, b]}" for b in names if b != a and wins[a, b]]
        size = f"{sum(bits[a]) / len(bits[a]):.3f} bits a weight"
        told = f"proven better than {', '.join(parts)}" if parts else "proven better than none"
        lines.append(f"{a} ({size}): {told} of {len(better)} layers.")
    return lines
