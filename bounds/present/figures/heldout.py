"""Held-out against calibration: does a small error on the calibration inputs stay small on others?

One mark per chunk and bit width, for the weights of the best method. On the diagonal the SNR is the
same on inputs that took no part; below it, the solution is fitted to its calibration inputs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bounds.errors import StudyError
from bounds.present.figures.legends import add_legend
from bounds.present.figures.style import colours, new_figure, size
from bounds.problem.methods import PROBLEMS
from bounds.results.ranges import group_rows
from bounds.results.row import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def heldout_data(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """One record per chunk, bit width and problem: both SNRs in dB of the best method's weights."""
    records = []
    for (source, layer, chunk, bits, problem), group in group_rows(rows).items():
        best = min(group, key=lambda row: row.upper)
        records.append(
            {
                "source": source,
                "layer": layer,
                "chunk": chunk,
                "problem": problem,
                "method": best.method,
                "bits": bits,
                "calibration": best.snr_attained,
                "heldout": best.heldout_snr,
            }
        )
    return records


def heldout_panel(
    records: Sequence[dict[str, Any]], *, ax: Axes, bits: Sequence[int] | None = None
) -> Axes:
    """Draw records (``heldout_data``) into ``ax``; those that are not finite are left out.

    Args:
        records: of one problem.
        ax: where to draw.
        bits: bit widths that share the colours, by default those of ``records``.
    """
    finite = [r for r in records if math.isfinite(r["calibration"] + r["heldout"])]
    shades = colours(sorted({r["bits"] for r in records}) if bits is None else bits)
    for width, colour in shades.items():
        points = [(r["calibration"], r["heldout"]) for r in finite if r["bits"] == width]
        x, y = np.array(points).reshape(-1, 2).T
        ax.plot(x, y, "o", color=colour, markersize=2.6, markeredgewidth=0, alpha=0.85, zorder=2)
    values = [r[name] for r in finite for name in ("calibration", "heldout")] or [0.0, 1.0]
    low, high = min(0.0, *values) - 0.5, max(values) + 1.0
    ax.plot([low, high], [low, high], color="0.35", linewidth=0.7, zorder=1)
    ax.set_xlim(low, high)
    ax.set_ylim(low, high)
    return ax


def heldout_figure(rows: Iterable[Row], *, width: str = "text") -> Figure:
    """Held-out against calibration SNR, a panel per problem.

    Raises:
        StudyError: unknown width, or no rows.
    """
    inches, _ = size(width)
    records = heldout_data(rows)
    shown = [problem for problem in PROBLEMS if any(r["problem"] == problem for r in records)]
    if not shown:
        raise StudyError("there are no rows; run the study again")
    bits = sorted({r["bits"] for r in records})
    columns = len(shown)
    # Square panels, no wider than they need.
    inches = min(inches, 2.6 * columns)
    with new_figure(inches, inches / columns * 0.9 + 0.2) as figure:
        axes: list[Axes] = list(figure.subplots(1, columns, squeeze=False).flat)
        for ax, problem in zip(axes, shown, strict=False):
            heldout_panel([r for r in records if r["problem"] == problem], ax=ax, bits=bits)
            ax.set_box_aspect(1)
            ax.set_title(problem)
        # Once for all panels: a panel in a column is narrower than these words.
        figure.supxlabel("calibration SNR, dB (per chunk)", fontsize=7.5)
        axes[0].set_ylabel("held-out SNR, dB")
        handles = [
            Line2D([], [], color=colour, label=f"{b} bits", marker="o", linestyle="", markersize=3)
            for b, colour in colours(bits).items()
        ]
        add_legend(figure, handles)
    return figure
