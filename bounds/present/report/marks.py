"""Marks on the ranges: rings around what is too small to see, and numbers under the pointer."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes

from bounds.present.figures.ranges import corners
from bounds.present.figures.style import colours
from bounds.present.figures.verdicts import lead_words, leads
from bounds.results.ranges import Pair

#: Share of an axis below which a side is a few pixels: 3 of 160 points, the width of a panel.
_TINY = 0.02


def mark(pairs: Sequence[Pair], *, ax: Axes, bits: Sequence[int]) -> dict[str, str]:
    """Put a ring on every rectangle of a range panel; returns its group id and its words.

    The ids of rectangles that are too small to see begin with ``tiny``, the others with ``spot``.

    Args:
        pairs: what ``bounds.present.figures.ranges.range_panel`` drew into ``ax``.
        ax: the panel, with its limits.
        bits: bit widths that share the colours.
    """
    shades = colours(bits)
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    words: dict[str, str] = {}
    for pair in pairs:
        x0, y0, x1, y1 = corners(pair)
        if not math.isfinite(x0 + y0):
            continue  # attained without error: not drawn
        x1, y1 = min(x1, right), min(y1, top)
        tiny = min((x1 - x0) / (right - left), (y1 - y0) / (top - bottom)) < _TINY
        key = f"{'tiny' if tiny else 'spot'}{len(words)}"
        (ring,) = ax.plot(
            [(x0 + x1) / 2],
            [(y0 + y1) / 2],
            "o",
            color=shades[pair.bits],
            markersize=7,
            markerfacecolor="none",
            markeredgewidth=0.6,
            zorder=4,
        )
        ring.set_gid(key)
        words[key] = _words(pair)
    return words


def _words(pair: Pair) -> str:
    q, p = pair.quantization, pair.pruning
    return (
        f"{pair.source} {pair.layer}, chunk {pair.chunk}, {pair.bits} bits: quantization "
        f"{_span(q.snr_heuristic, q.snr_relaxation)}, pruning "
        f"{_span(p.snr_heuristic, p.snr_relaxation)}; "
        f"{lead_words(*leads(pair))}"
    )


def _span(low: float, high: float) -> str:
    return f"{low:.2f} to {high:.2f} dB" if math.isfinite(high) else f"{low:.2f} dB or more"
