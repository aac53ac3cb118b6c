"""Comparisons as a table: per layer and bit width, what each difference is worth in dB."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from bounds.audit.differences import DIFFERENCES, Comparison
from bounds.problem.range import snr

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

Record = dict[str, Any]

#: What is counted, of which difference: claims of the published side that are false.
COUNTS = {
    "above\nSDP": ("solver value", "overstated"),
    "above\nerror": ("solver value", "false"),
    "outside\nbox": ("1-opt", "false"),
}

HEADINGS = {
    "box": "box",
    "solver value": "solver\nvalue",
    "1-opt": "1-opt",
    "smallest kept": "small\nkept",
    "floored k": "floor\nk",
    "unfold, quantization": "unfold\nquant.",
    "unfold, pruning": "unfold\nprune",
}

TITLE = "What the released pipeline does differently: its SNR less the right one, in dB"
KEY = (
    "box and solver value are about the SNR bound, the others about the SNR attained.\n"
    "above SDP: published bounds above the relaxation's own optimum (Clarabel's);\n"
    "above error: above an attained error; outside box: solutions off the grid."
)


def records(comparisons: Iterable[Comparison]) -> list[Record]:
    """One record per layer, bit width and difference, errors summed over channels and chunks."""
    together: dict[tuple[str, str, int, str], list[Comparison]] = {}
    for one in comparisons:
        together.setdefault((one.source, one.layer, one.bits, one.difference), []).append(one)
    found = []
    for (source, layer, bits, difference), parts in together.items():
        published, right, energy, right_energy = (
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("published", "right", "energy", "right_energy")
        )
        shown = snr(energy, np.maximum(published, 0.0)), snr(right_energy, right)
        found.append(
            {
                "source": source,
                "layer": layer,
                "bits": bits,
                "difference": difference,
                "channels": len(published),
                "snr_published": shown[0],
                "snr_right": shown[1],
                "worth": shown[0] - shown[1],
                "claims": sum(part.claims for part in parts),
                "false": sum(part.false for part in parts),
                "overstated": sum(part.overstated for part in parts),
            }
        )
    return found


def render(found: Sequence[Record]) -> Group:
    """``records`` for the terminal, a line per layer and bit width, in 80 columns."""
    from rich.console import Group
    from rich.text import Text

    names = [name for name in DIFFERENCES if any(r["difference"] == name for r in found)]
    parts: list[Text | Table] = [Text(TITLE), Text(), _table([_headings(names)], len(names))]
    for layer in dict.fromkeys((r["source"], r["layer"]) for r in found):
        here = [r for r in found if (r["source"], r["layer"]) == layer]
        lines = [_line(here, bits, names) for bits in dict.fromkeys(r["bits"] for r in here)]
        parts += [Text(" ".join(layer), style="bold"), _table(lines, len(names))]
    totals = ["", *[""] * len(names), *_counts(found)]
    parts += [Text("all", style="bold"), _table([totals], len(names))]
    legend = "\n".join(f"{name}: {DIFFERENCES[name]}" for name in names)
    return Group(*parts, Text(), Text(f"{legend}\n{KEY}", style="dim"))


def _headings(names: Sequence[str]) -> list[str]:
    return ["bits", *(HEADINGS[name] for name in names), *COUNTS]


def _line(here: Sequence[Record], bits: int, names: Sequence[str]) -> list[str]:
    at = {r["difference"]: r for r in here if r["bits"] == bits}
    cells = [f"{at[name]['worth']:+.2f}" if name in at else "" for name in names]
    return [str(bits), *cells, *_counts(list(at.values()))]


def _table(lines: Sequence[Sequence[str]], differences: int) -> Table:
    from rich.table import Table

    table = Table(box=None, show_header=False, padding=(0, 1, 0, 0))
    for width in (4, *[6] * differences, *[7] * len(COUNTS)):
        table.add_column(justify="right", width=width, no_wrap=True)
    for line in lines:
        table.add_row(*line)
    return table


def _counts(found: Sequence[Record]) -> list[str]:
    cells = []
    for difference, kind in COUNTS.values():
        here = [r for r in found if r["difference"] == difference]
        claims = sum(r["claims"] for r in here)
        cells.append(f"{sum(r[kind] for r in here)}/{claims}" if claims else "")
    return cells
