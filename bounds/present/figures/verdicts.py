"""Verdicts at a glance: by how much quantization is proven ahead of pruning, layer by layer.

A bar runs from the smallest to the largest lead that is consistent with all that was proven, a dot
where both optima are known. Right of zero quantization is proven better, left of it pruning; a bar
across zero is undecided.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from bounds.present.figures.style import colours
from bounds.results.ranges import Pair

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def leads(pair: Pair) -> tuple[float, float]:
    """The least and the most of quantization's SNR less pruning's, in dB; infinite where open."""
    q, p = pair.quantization, pair.pruning
    low, high = q.snr_attained - p.snr_bound, q.snr_bound - p.snr_attained
    # Infinite less infinite says nothing.
    return -math.inf if math.isnan(low) else low, math.inf if math.isnan(high) else high


def verdict_panel(layers: Sequence[tuple[str, Mapping[int, Pair]]], *, ax: Axes) -> dict[str, str]:
    """Draw a line per layer into ``ax``; returns the group id of every bar with its words.

    Args:
        layers: name and pairs by bit width (``bounds.results.summary.LayerSummary.pairs``).
        ax: where to draw.
    """
    shades = colours(sorted({bits for _, pairs in layers for bits in pairs}))
    ends = [end for _, pairs in layers for pair in pairs.values() for end in leads(pair)]
    drawn = [0.0, *(end for end in ends if math.isfinite(end))]
    room = 0.06 * max(max(drawn) - min(drawn), 1.0)
    left, right = min(drawn) - room, max(drawn) + room
    ax.axvspan(left, 0.0, color="0.94", linewidth=0, zorder=0)
    ax.axvline(0.0, color="0.35", linewidth=0.7, zorder=1)
    words: dict[str, str] = {}
    for place, (name, pairs) in enumerate(layers):
        ax.text(0.0, place - 0.28, name, transform=ax.get_yaxis_transform(), fontsize=6.5)
        for bits, pair in pairs.items():
            low, high = leads(pair)
            # A side without a bound runs out of the panel.
            (bar,) = ax.plot(
                [max(low, left - room), min(high, right + room)],
                [place, place],
                color=shades[bits],
                linewidth=4.5,
                solid_capstyle="round",
                zorder=2,
            )
            bar.set_gid(f"bar{len(words)}")
            words[f"bar{len(words)}"] = f"{name}, {bits} bits: {lead_words(low, high)}"
    ax.set_xlim(left, right)
    ax.set_ylim(len(layers) - 0.5, -0.75)
    ax.set_yticks([])
    ax.spines[["left", "top", "right"]].set_visible(False)
    return words


def lead_words(low: float, high: float) -> str:
    """What a bar says: who is ahead, and by how many dB."""
    if low <= 0 <= high:
        return f"undecided; quantization's lead is between {low:+.2f} and {high:+.2f} dB"
    who = "quantization" if low > 0 else "pruning"
    least, most = sorted((abs(low), abs(high)))
    if most - least < 0.01:
        return f"{who} is better by {least:.2f} dB"
    return f"{who} is better by {least:.2f} dB" + (
        f" to {most:.2f} dB" if math.isfinite(most) else " at least"
    )
