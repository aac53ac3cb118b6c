"""The range figure (Kuzmin et al. 2023, Fig. 4): quantization SNR against pruning SNR.

One rectangle per chunk and bit width, from what fast methods attain to what relaxations prove; a
dot at the optimum where search settled both problems; the diagonal decides.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.collections import PatchCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from bounds.errors import StudyError
from bounds.present.figures.legends import add_legend
from bounds.present.figures.style import clip, colours, new_figure, shorten, size
from bounds.problem.methods import PRUNING, QUANTIZATION
from bounds.results.ranges import Pair, chunk_pairs
from bounds.results.row import Row
from bounds.results.verdicts import UNDECIDED

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def corners(pair: Pair) -> tuple[float, float, float, float]:
    """A rectangle's left, bottom, right, top in dB; infinite where nothing bounds it."""
    p, q = pair.pruning, pair.quantization
    return p.snr_heuristic, q.snr_heuristic, p.snr_relaxation, q.snr_relaxation


def optimum(pair: Pair) -> tuple[float, float]:
    """A pair's optimum (pruning, quantization) in dB; NaN unless both are settled."""
    point = pair.pruning.snr_optimum, pair.quantization.snr_optimum
    return point if all(map(math.isfinite, point)) else (math.nan, math.nan)


def range_panel(pairs: Sequence[Pair], *, ax: Axes, bits: Sequence[int] | None = None) -> Axes:
    """Draw pairs of chunks into ``ax``.

    Args:
        pairs: ``bounds.results.ranges.chunk_pairs`` of one layer, or of several.
        ax: where to draw.
        bits: bit widths that share the colours, by default those of ``pairs``.
    """
    shades = colours(_bits(pairs) if bits is None else bits)
    low, right, top = _limits(pairs)
    high = max(right, top)
    ax.fill_between([low, high], [low, high], low, color="0.94", linewidth=0, zorder=0)
    ax.plot([low, high], [low, high], color="0.35", linewidth=0.7, zorder=1)
    for width, colour in shades.items():
        chosen = [pair for pair in pairs if pair.bits == width]
        boxes = [c for c in map(corners, chosen) if math.isfinite(c[0] + c[1])]
        # A side without a bound runs out of the panel.
        patches = [
            Rectangle((x, y), min(x1, 2 * high) - x, min(y1, 2 * high) - y)
            for x, y, x1, y1 in boxes
        ]
        ax.add_collection(
            PatchCollection(
                patches, facecolor=(*colour, 0.35), edgecolor=colour, linewidth=0.5, zorder=2
            )
        )
        dots = np.array([optimum(pair) for pair in chosen]).reshape(-1, 2)
        ax.plot(*dots.T, ".", color=colour, markersize=2.2, markeredgewidth=0, zorder=3)
    ax.text(
        0.98,
        0.03,
        "pruning better",
        transform=ax.transAxes,
        ha="right",
        fontsize=5.5,
        color="0.45",
        zorder=1,
    )
    ax.set_xlim(low, right)
    ax.set_ylim(low, top)
    return ax


def range_figure(rows: Iterable[Row], *, width: str = "text") -> Figure:
    """The range figure of a study: a panel per layer and one with all of them.

    Args:
        rows: rows of a study (``bounds.results.ranges.load_rows``).
        width: a key of ``WIDTHS``.

    Raises:
        StudyError: unknown width, or no chunk with both problems.
    """
    inches, columns = size(width)
    pairs = chunk_pairs(rows)
    if not pairs:
        raise StudyError("no chunk has rows for both problems; give the study methods for both")
    by_layer = {name: list(group) for name, group in groupby(pairs, lambda p: (p.source, p.layer))}
    columns = min(columns, len(by_layer) + 1)
    # Letters of a title over a panel; the rest of its share is for the tick labels.
    most = int(17 * (inches / columns - 0.3))
    titled = [
        (f"{clip(source, most)}\n{clip(shorten(layer, most), most)}", group)
        for (source, layer), group in by_layer.items()
    ]
    titled.append(("all layers", pairs))
    lines = -(-len(titled) // columns)
    bits = _bits(pairs)
    with new_figure(inches, 1.75 * lines + 0.3) as figure:
        axes: list[Axes] = list(figure.subplots(lines, columns, squeeze=False).flat)
        for ax, (title, group) in zip(axes, titled, strict=False):
            range_panel(group, ax=ax, bits=bits)
            ax.set_title(title)
        for ax in axes[len(titled) :]:
            ax.remove()
        figure.supxlabel("pruning SNR at equal storage, dB (per chunk)", fontsize=7.5)
        figure.supylabel("quantization SNR, dB (per chunk)", fontsize=7.5)
        # Above the panels: below them it would lie on the common label of the axes.
        add_legend(figure, _legend(bits), title=caption(pairs))
    return figure


def caption(pairs: Sequence[Pair]) -> str:
    """How many of the rectangles are proven to lie on which side of the diagonal."""
    won = Counter(pair.verdict.winner for pair in pairs)
    return (
        f"{len(pairs)} rectangles (chunk and bit width). Proven better: quantization "
        f"{won[QUANTIZATION]}, pruning {won[PRUNING]}; undecided {won[UNDECIDED]}"
    )


def range_data(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """What the range figure draws, one record per rectangle; SNR in dB, NaN where open."""
    records = []
    for pair in chunk_pairs(rows):
        left, bottom, right, top = corners(pair)
        x, y = optimum(pair)
        records.append(
            {
                "source": pair.source,
                "layer": pair.layer,
                "chunk": pair.chunk,
                "bits": pair.bits,
                "pruning_low": left,
                "pruning_high": right,
                "quantization_low": bottom,
                "quantization_high": top,
                "pruning_optimum": x,
                "quantization_optimum": y,
                "winner": pair.verdict.winner,
                "margin": pair.verdict.margin,
            }
        )
    return records


def _bits(pairs: Iterable[Pair]) -> list[int]:
    return sorted({pair.bits for pair in pairs})


def _limits(pairs: Iterable[Pair]) -> tuple[float, float, float]:
    """Lower limit of both axes, right and upper limit: a little beyond all that is drawn."""
    drawn = np.array([corners(pair) for pair in pairs])
    drawn[~np.isfinite(drawn)] = 0.0
    right, top = drawn[:, [0, 2]].max(), drawn[:, [1, 3]].max()
    return min(0.0, float(drawn.min()) * 1.06), max(right, 1.0) * 1.06, max(top, 1.0) * 1.06


def _legend(bits: Sequence[int]) -> list[Line2D]:
    squares = [
        Line2D([], [], color=colour, label=f"{width} bits", marker="s", linestyle="", markersize=4)
        for width, colour in colours(bits).items()
    ]
    dot = Line2D([], [], color="0.2", label="optimum", marker=".", linestyle="", markersize=4)
    return [*squares, dot]
