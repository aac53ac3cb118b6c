"""The table of a study: per layer and bit width what is attained, what is proven, who wins."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from bounds.problem.methods import searches
from bounds.results.formats import format_results, proven_better, statement
from bounds.results.ranges import BestKnown, Pair, chunk_pairs, layer_pairs
from bounds.results.row import Row
from bounds.results.share import shares
from bounds.results.verdicts import UNDECIDED

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

TITLE = "SNR in dB at equal storage, per chunk (each compressed by itself; errors summed)"
KEY = (
    "quick: attained without search; best: by any method; bound: proven, no weights do better.\n"
    "proven better: attains more than the other can reach, by at least so many dB.\n"
    "exact: problems solved to optimality, out of how many."
)


def study_table(rows: Iterable[Row]) -> list[Pair]:
    """What the table shows: one pair per layer and bit width, in the order of ``rows``."""
    return layer_pairs(chunk_pairs(rows))


def render(rows: Iterable[Row]) -> Group:
    """``study_table`` for the terminal, a table per layer with the same columns, in 80 columns."""
    rows = list(rows)
    share = shares(rows, chunk_pairs(rows))
    from rich.console import Group
    from rich.text import Text

    parts: list[Text | Table] = [Text(TITLE), Text()]
    for (source, layer), group in groupby(
        study_table(rows), lambda pair: (pair.source, pair.layer)
    ):
        parts.append(Text(f"{source} {layer}, {share[source, layer]}", style="bold"))
        parts += [_layer_table(list(group)), Text()]
    return Group(*parts, Text(KEY, style="dim"))


FORMATS_TITLE = "SNR in dB on grids chosen in the whole layer (errors summed over its chunks)"
FORMATS_KEY = (
    "bits: true bits a weight, steps and zero points counted. best: by any method; bound: proven.\n"
    "beats: numbers of the grids that are proven worse, whatever weights are found on them."
)


def render_formats(rows: Iterable[Row]) -> Group:
    """Grids against each other for the terminal: a table per layer, and who is proven better."""
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    results = format_results(rows)
    better = proven_better(results)
    parts: list[Text | Table] = [Text(FORMATS_TITLE), Text()]
    for place, group in groupby(results, lambda one: (one.source, one.layer)):
        found = list(group)
        first, methods = found[0], [m for m in found[0].attained if m not in searches()]
        chunks = f"{first.chunks} chunks" if first.chunks > 1 else f"{first.features} inputs"
        parts.append(Text(f"{' '.join(place)}, {chunks}", style="bold"))
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
        table.add_column("", justify="right")
        table.add_column("grid", no_wrap=True)
        for heading in ("bits", *methods, "best", "bound", "exact"):
            table.add_column(heading, justify="right")
        table.add_column("beats")
        places = {one.grid: number for number, one in enumerate(found, 1)}
        for one in found:
            numbers = [one.snr_of(m) if m in one.attained else math.nan for m in methods]
            numbers += [one.known.snr_attained, one.known.snr_bound]
            beats = " ".join(str(places[b]) for a, b in better[place] if a == one.grid)
            settled = f"{one.known.exact}/{one.known.channels}"
            cells = [f"{number:.2f}" for number in numbers]
            table.add_row(
                str(places[one.grid]), one.grid, f"{one.bits:.3f}", *cells, settled, beats
            )
        parts += [table, Text()]
    told = "\n".join(statement(results))
    return Group(*parts, Text(told), Text(FORMATS_KEY, style="dim"))


def _layer_table(pairs: Sequence[Pair]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=0)
    table.add_column("bits", justify="right")
    for problem in ("quantization", "pruning"):
        heading = f"{problem:^20}\n quick   best  bound"
        table.add_column(heading, justify="right", width=20, no_wrap=True)
    table.add_column("proven better", width=13)
    table.add_column("by", justify="right", width=6)
    table.add_column("exact", justify="right", min_width=9)
    for pair in pairs:
        verdict = pair.verdict
        table.add_row(
            str(pair.bits),
            _decibels(pair.quantization),
            _decibels(pair.pruning),
            Text(verdict.winner, style="dim" if verdict.winner == UNDECIDED else ""),
            f"{verdict.margin:+.2f}",
            _settled(pair),
        )
    return table


def _decibels(known: BestKnown) -> str:
    values = known.snr_heuristic, known.snr_attained, known.snr_bound
    return " ".join(f"{value:6.2f}" for value in values)


def _settled(pair: Pair) -> str:
    """How many channel problems are exact, out of how many, and how many of the rest certified."""
    both = (pair.quantization, pair.pruning)
    exact, certified, total = (
        sum(getattr(known, name) for known in both) for name in ("exact", "certified", "channels")
    )
    if exact == total:
        return f"all {total}"
    return f"{exact}/{total}" + (f"\n{certified} certified" if certified else "")
