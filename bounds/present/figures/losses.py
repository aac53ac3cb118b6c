"""Heuristics' loss: how many dB each method without search stays below the optimum.

One mark per method and bit width, the median over chunks, with a line from the first to the ninth
decile. Where the optimum is not settled the loss is counted against the proven bound: at most that.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from bounds.errors import StudyError
from bounds.present.figures.legends import add_panel_legends, wrap
from bounds.present.figures.style import METHOD_COLOURS, METHOD_MARKERS, new_figure, size
from bounds.problem.methods import PROBLEMS, searches
from bounds.problem.range import decibels
from bounds.results.ranges import best_known, group_rows
from bounds.results.row import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DECILES = (10, 50, 90)
#: Inches of the narrowest panel that is put beside another, and most bit widths that have a tick.
_NARROWEST = 2.3
_MOST_TICKS = 9


def loss_data(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """One record per chunk, bit width and method without search.

    ``loss`` is in dB: the optimum's SNR less the method's; ``settled`` says that the optimum is
    known, else ``loss`` is what it can be at most.
    """
    records = []
    for (source, layer, chunk, bits, problem), group in group_rows(rows).items():
        best = best_known(group)
        settled = best.exact == best.channels
        reference = best.upper if settled else best.lower
        for row in group:
            if row.method in searches():
                continue
            records.append(
                {
                    "source": source,
                    "layer": layer,
                    "chunk": chunk,
                    "problem": problem,
                    "method": row.method,
                    "bits": bits,
                    "loss": _loss(row.upper, reference),
                    "settled": int(settled),
                }
            )
    return records


def _loss(attained: float, reference: float) -> float:
    return decibels(attained, reference) if attained > reference else 0.0


def loss_panel(records: Sequence[dict[str, Any]], *, ax: Axes) -> Axes:
    """Draw records of one problem (``loss_data``) into ``ax``.

    Args:
        records: of one problem; a loss that is not finite is left out.
        ax: where to draw.
    """
    finite = [r for r in records if math.isfinite(r["loss"])]
    methods = list(dict.fromkeys(r["method"] for r in records))
    widths = sorted({r["bits"] for r in records})
    for place, method in enumerate(methods):
        # Side by side, so that no mark hides another.
        shift = 0.5 * ((place + 0.5) / len(methods) - 0.5)
        colour = METHOD_COLOURS[place % len(METHOD_COLOURS)]
        points = []
        for bits in widths:
            losses = [r["loss"] for r in finite if (r["method"], r["bits"]) == (method, bits)]
            if not losses:
                continue
            low, middle, high = np.percentile(losses, _DECILES)
            ax.plot([bits + shift] * 2, [low, high], color=colour, linewidth=1.0, alpha=0.6)
            points.append((bits + shift, middle))
        ax.plot(
            *np.array(points).reshape(-1, 2).T,
            color=colour,
            marker=METHOD_MARKERS[place % len(METHOD_MARKERS)],
            markersize=3,
            linewidth=0.6,
            label=method,
        )
    ax.set_xticks(widths if len(widths) <= _MOST_TICKS else widths[:: -(-len(widths) // 8)])
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def loss_figure(rows: Iterable[Row], *, width: str = "text") -> Figure:
    """The losses of all methods without search, a panel per problem.

    Raises:
        StudyError: unknown width, or no such method in ``rows``.
    """
    inches, _ = size(width)
    records = loss_data(rows)
    shown = [problem for problem in PROBLEMS if any(r["problem"] == problem for r in records)]
    if not shown:
        raise StudyError("no method without search has rows; give the study a heuristic")
    # Below each other where a panel would be too narrow for its bit widths and legend.
    columns = min(int(inches / _NARROWEST), len(shown))
    lines = -(-len(shown) // columns)
    with new_figure(inches, 1.8 * lines + 0.3) as figure:
        axes: list[Axes] = list(figure.subplots(lines, columns, squeeze=False).flat)
        for place, (ax, problem) in enumerate(zip(axes, shown, strict=False)):
            loss_panel([r for r in records if r["problem"] == problem], ax=ax)
            ax.set_xlabel("bits a weight (storage of the values)")
            if place % columns == 0:
                ax.set_ylabel("loss against the optimum, dB\n(per chunk: median, deciles)")
        open_ones = sum(not r["settled"] for r in records)
        if open_ones:
            words = f"{open_ones} of {len(records)} losses are against the bound: at most that"
            figure.suptitle(wrap(words, inches), fontsize=7)
        add_panel_legends(figure, shown)
    return figure
