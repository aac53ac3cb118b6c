"""Grids against each other: SNR over true bits a weight, attained and proven.

One column per grid and layer: a bar from what the best method attains to what nothing exceeds, or a
dot at the optimum, and a small mark for each method without search.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bounds.errors import StudyError
from bounds.present.figures.legends import add_legend, wrap
from bounds.present.figures.style import (
    METHOD_COLOURS,
    METHOD_MARKERS,
    clip,
    new_figure,
    shorten,
    size,
)
from bounds.problem.methods import searches
from bounds.results.formats import FormatResult, format_records, format_results
from bounds.results.row import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Bits a weight within which two grids stand beside each other, and how far they are put apart.
_BESIDE = 0.02
#: Inches of a panel's height for what is drawn, and for a letter of a name above it.
_DATA, _LETTER = 1.1, 0.054


def format_data(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """What the figure draws: a record per layer and grid."""
    return format_records(format_results(rows))


def format_panel(
    results: Sequence[FormatResult], *, ax: Axes, methods: Sequence[str] | None = None
) -> Axes:
    """Draw the grids of one layer into ``ax``.

    Args:
        results: of one layer (``bounds.results.formats.format_results``).
        ax: where to draw.
        methods: those without search, in the order of their colours; by default as they come.
    """
    shown = _methods(results) if methods is None else methods
    for one, x in zip(results, _places(results), strict=True):
        low, high = one.known.snr_attained, one.known.snr_bound
        if not math.isfinite(high):
            ax.annotate("", (x, low + 1.5), (x, low), arrowprops={"arrowstyle": "->", "lw": 0.8})
        elif high - low > 0.05:
            ax.plot([x, x], [low, high], color="0.25", linewidth=2.2, solid_capstyle="butt")
        ax.plot([x], [low], ".", color="0.1", markersize=5, zorder=3)
        for place, method in enumerate(shown):
            if method in one.attained:
                ax.plot(
                    [x],
                    [one.snr_of(method)],
                    METHOD_MARKERS[place % len(METHOD_MARKERS)],
                    color=METHOD_COLOURS[place % len(METHOD_COLOURS)],
                    markersize=2.6,
                    markeredgewidth=0,
                )
        top = max(low, high) if math.isfinite(high) else low + 1.5
        ax.annotate(
            _names(results)[one.grid], (x, top), (0, 3), textcoords="offset points", rotation=90,
            ha="center", va="bottom", fontsize=5.5,
        )  # fmt: skip
    ax.margins(x=0.08)
    # Room for the names: data have ``_DATA`` inches of the panel's height.
    bottom, top = ax.get_ylim()
    ax.set_ylim(bottom, top + (top - bottom) * _letters(results) / _DATA)
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def format_figure(rows: Iterable[Row], *, width: str = "text") -> Figure:
    """SNR over true bits a weight, a panel per layer.

    Raises:
        StudyError: unknown width, or no rows on grids.
    """
    inches, most = size(width)
    results = format_results(rows)
    if not results:
        raise StudyError('no row is about a grid; give the study grids = ["int4-g128", "nf4"]')
    layers = [
        (place, list(group)) for place, group in groupby(results, lambda r: (r.source, r.layer))
    ]
    methods = _methods(results)
    columns = min(max(most // 2, 1) + 1, len(layers))
    # Letters of a title over a panel; the rest of its share is for the tick labels.
    letters = int(17 * (inches / columns - 0.3))
    lines = -(-len(layers) // columns)
    with new_figure(inches, lines * (_DATA + _letters(results) + 0.55) + 0.2) as figure:
        axes: list[Axes] = list(figure.subplots(lines, columns, squeeze=False).flat)
        for ax, ((source, layer), group) in zip(axes, layers, strict=False):
            format_panel(group, ax=ax, methods=methods)
            ax.set_title(f"{clip(source, letters)}\n{clip(shorten(layer, letters), letters)}")
        for ax in axes[len(layers) :]:
            ax.remove()
        words = "true bits a weight, steps and zero points counted"
        if all("-mse" in one.grid for one in results):
            words += "; steps by MSE search"
        figure.supxlabel(wrap(words, inches, 7.5), fontsize=7.5)
        figure.supylabel("SNR, dB", fontsize=7.5)
        handles = [
            Line2D([], [], color="0.25", linewidth=2.2, label="open, up to the proven bound"),
            Line2D([], [], color="0.1", marker=".", linestyle="", label="best attained"),
            *(
                Line2D(
                    [], [], linestyle="", label=method, markersize=3,
                    marker=METHOD_MARKERS[place % len(METHOD_MARKERS)],
                    color=METHOD_COLOURS[place % len(METHOD_COLOURS)],
                )
                for place, method in enumerate(methods)
            ),
        ]  # fmt: skip
        add_legend(figure, handles)
    return figure


def _methods(results: Sequence[FormatResult]) -> list[str]:
    every = dict.fromkeys(method for one in results for method in one.attained)
    return [method for method in every if method not in searches()]


def _letters(results: Sequence[FormatResult]) -> float:
    """Inches that the longest name takes."""
    return _LETTER * max(map(len, _names(results).values())) + 0.08


def _names(results: Sequence[FormatResult]) -> dict[str, str]:
    """Grids as they are written: without the search, if it chose the steps of all of them."""
    grids = [one.grid for one in results]
    searched = all("-mse" in grid for grid in grids)
    return {grid: grid.replace("-mse", "") if searched else grid for grid in grids}


def _places(results: Sequence[FormatResult]) -> list[float]:
    """True bits, those of grids that cost the same a little apart, in the order given."""
    taken: list[float] = []
    for one in results:
        place = one.bits
        while any(abs(place - other) < _BESIDE for other in taken):
            place += _BESIDE
        taken.append(place)
    return taken
