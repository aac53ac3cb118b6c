"""What a study found out, layer by layer: the numbers that tables, LaTeX and the report share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from bounds.problem.range import TOLERANCE
from bounds.results.equal_storage import ACCOUNTS, VALUES, pairs_at
from bounds.results.ranges import Pair, chunk_pairs, layer_pairs
from bounds.results.row import Row
from bounds.results.share import Share, overall, shares
from bounds.results.verdicts import Crossover, crossover

#: How each way of counting storage is told.
ACCOUNT_WORDS = {
    "values": "values alone",
    "entropy": "mask at its entropy, scales counted",
    "bitmask": "mask at 1 bit a weight, scales counted",
}


@dataclass(frozen=True)
class LayerSummary:
    """One layer: its pairs, summed over chunks, by account (``equal_storage``) and bit width.

    ``share`` says how much of the layer the numbers are about.
    """

    source: str
    layer: str
    share: Share
    pairs: Mapping[str, Mapping[int, Pair]]

    def crossover(self, account: str = VALUES) -> Crossover:
        """Where pruning stops being better and quantization starts."""
        return crossover({bits: pair.verdict for bits, pair in self.pairs[account].items()})


def summarise(rows: Iterable[Row]) -> list[LayerSummary]:
    """Layers in the order of ``rows``; those without a chunk solved for both problems are left out.

    Args:
        rows: ``bounds.results.ranges.load_rows``.
    """
    rows = list(rows)
    found: dict[tuple[str, str], dict[str, dict[int, Pair]]] = {}
    for account in ACCOUNTS:
        for pair in layer_pairs(pairs_at(rows, account)):
            layer = found.setdefault((pair.source, pair.layer), {name: {} for name in ACCOUNTS})
            layer[account][pair.bits] = pair
    share = shares(rows, chunk_pairs(rows))
    return [
        LayerSummary(source, layer, share[source, layer], pairs)
        for (source, layer), pairs in found.items()
    ]


def records(summaries: Iterable[LayerSummary]) -> list[dict[str, Any]]:
    """One flat record per layer, account and bit width, for CSV; SNR and margins in dB."""
    return [
        {
            "source": one.source,
            "layer": one.layer,
            "channels": one.share.channels[1],
            "channel_total": one.share.channel_total[1],
            "chunks": pair.chunks,
            "chunk_total": one.share.chunk_total[1],
            "storage": account,
            "bits": bits,
            "quantization_quick": pair.quantization.snr_heuristic,
            "quantization_best": pair.quantization.snr_attained,
            "quantization_bound": pair.quantization.snr_bound,
            "pruning_quick": pair.pruning.snr_heuristic,
            "pruning_best": pair.pruning.snr_attained,
            "pruning_bound": pair.pruning.snr_bound,
            "winner": pair.verdict.winner,
            "margin": pair.verdict.margin,
            "crossover": str(one.crossover(account)),
            "problems": pair.quantization.channels + pair.pruning.channels,
            "exact": pair.quantization.exact + pair.pruning.exact,
            "certified": pair.quantization.certified + pair.pruning.certified,
        }
        for one in summaries
        for account, pairs in one.pairs.items()
        for bits, pair in pairs.items()
    ]


def statement(rows: Iterable[Row]) -> str:
    """What was proven, and with which tolerance, in plain sentences."""
    rows = list(rows)
    pairs = chunk_pairs(rows)
    both = [known for pair in pairs for known in (pair.quantization, pair.pruning)]
    total = sum(known.channels for known in both)
    exact = sum(known.exact for known in both)
    certified = sum(known.certified for known in both)
    won = Counter(pair.verdict.winner for pair in pairs)
    ranked = len(pairs) - won["undecided"]
    versions = {row.versions.split(",")[0] for row in rows}
    rest = f", {certified} have a positive proven bound" if certified else ""
    if exact + certified < total:
        rest += f", {total - exact - certified} have none"
    solved = list(shares(rows, pairs).values())
    share = f" Solved of each layer: {overall(solved)}." if solved else ""
    return (
        f"Proven: of {total} problems (one output channel of one chunk at one bit width), {exact} "
        f"are solved to optimality, where lower and upper error agree to a relative {TOLERANCE:g}"
        f"{rest}; quantization and pruning are ranked in {ranked} of {len(pairs)} cases (chunk and "
        f"bit width), each chunk compressed by itself.{share} "
        f"Lower bounds are evaluated from verified duals or finished searches with their rounding "
        f"errors, never taken from a solver's "
        f"report. {' and '.join(sorted(versions))}."
    )
