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
from matplotlib.lines import Line2D

from bounds.errors import StudyError
from bounds.present.figures.style import METHOD_COLOURS, METHOD_MARKERS, new_figure, size
from bounds.problem.methods import PROBLEMS, searches
from bounds.problem.range import decibels
from bounds.results.ranges import Row, group_rows, known

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DECILES = (10, 50, 90)


def loss_data(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """One record per chunk, bit width and method without search.

    ``loss`` is in dB: the optimum's SNR less the method's; ``settled`` says that the optimum is
    known, else ``loss`` is what it can be at most.
    """
    records = []
    for (source, layer, chunk, bits, problem), group in group_rows(rows).items():
        best = known(group)
        settled = best.exact == best.channels
        reference = best.upper if settled else best.lower
        for row in group:
            if row["method"] in searches():
                continue
            records.append(
                {
                    "source": source,
                    "layer": layer,
                    "chunk": chunk,
                    "problem": problem,
                    "method": row["method"],
                    "bits": bits,
                    "loss": _loss(row["upper"], reference),
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
    ax.set_xticks(widths)
    low, high = ax.get_ylim()
    ax.set_ylim(low, high + 0.22 * (high - low))  # room for the legend
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def loss_figure(rows: Iterable[Row], *, width: str = "text") -> Figure:
    """The losses of all methods without search, a panel per problem.

    Raises:
        StudyError: unknown width, or no such method in ``rows``.
    """
    inches, columns = size(width)
    records = loss_data(rows)
    shown = [problem for problem in PROBLEMS if any(r["problem"] == problem for r in records)]
    if not shown:
        raise StudyError("no method without search has rows; give the study a heuristic")
    columns = min(columns, len(shown))
    lines = -(-len(shown) // columns)
    with new_figure(inches, 2.1 * lines + 0.35) as figure:
        axes: list[Axes] = list(figure.subplots(lines, columns, squeeze=False).flat)
        for ax, problem in zip(axes, shown, strict=False):
            loss_panel([r for r in records if r["problem"] == problem], ax=ax)
            ax.set_title(problem)
            ax.set_xlabel("bits a weight (storage of the values)")
            handles = [line for line in ax.get_lines() if _labelled(line)]
            ax.legend(
                handles=handles,
                frameon=False,
                loc="upper center",
                ncols=min(len(handles), 4),
                columnspacing=1.0,
            )
        axes[0].set_ylabel("loss against the optimum, dB\n(per chunk: median, deciles)")
        open_ones = sum(not r["settled"] for r in records)
        if open_ones:
            figure.suptitle(
                f"{open_ones} of {len(records)} losses are against the bound: at most that",
                fontsize=7,
            )
    return figure


def _labelled(line: Line2D) -> bool:
    return not str(line.get_label()).startswith("_")
