"""The anytime figure: how bound and attained SNR of one problem close in on each other.

It draws the steps of ``bounds.study.anytime.trace``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter

from bounds.errors import ProblemError
from bounds.present.figures.legends import add_legend, wrap
from bounds.present.figures.style import PROBLEM_COLOURS, new_figure, size
from bounds.problem.methods import PRUNING, QUANTIZATION
from bounds.results.steps import Step

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def anytime_data(steps: Sequence[Step]) -> list[dict[str, Any]]:
    """The steps as records, ready for a CSV file."""
    return [vars(step) | {"exact": int(step.exact)} for step in steps]


def anytime_panel(
    steps: Sequence[Step], *, ax: Axes, colour: str = "#0072b2", by: str = "seconds"
) -> Axes:
    """Draw steps into ``ax``: the bound above, the attained SNR below, the open gap shaded.

    Args:
        steps: of ``bounds.study.anytime.trace``.
        ax: where to draw.
        colour: of lines and shade.
        by: ``"seconds"`` or ``"nodes"``.

    Raises:
        ProblemError: another ``by``.
    """
    if by not in ("seconds", "nodes"):
        raise ProblemError(f"unknown axis {by!r}; choose seconds or nodes")
    # A limit of a few nodes is only looked at between batches of them, so steps can coincide.
    x = np.maximum.accumulate([max(float(getattr(step, by)), 1e-6) for step in steps])
    attained = [step.snr_attained for step in steps]
    bound = [step.snr_bound if math.isfinite(step.snr_bound) else math.nan for step in steps]
    ax.fill_between(x, attained, bound, step="post", color=colour, alpha=0.15, linewidth=0)
    ax.step(x, bound, where="post", color=colour, linewidth=0.9, linestyle="--", label="bound")
    ax.step(x, attained, where="post", color=colour, linewidth=1.1, label="attained")
    if steps and steps[-1].exact:
        ax.plot(x[-1:], attained[-1:], "o", color=colour, markersize=3.5, label="settled")
    ax.set_xscale("log")
    low, high = float(x[0]), float(x[-1])
    if high < 10 * low:  # a decade at least, so that there are ticks to read
        low, high = low / math.sqrt(10), high * math.sqrt(10)
    ax.set_xlim(low / 1.3, high * 1.6)
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xlabel("search time, s" if by == "seconds" else "search nodes")
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def anytime_figure(
    traces: Mapping[str, Sequence[Step]], *, width: str = "text", by: str = "seconds"
) -> Figure:
    """A panel per trace.

    Args:
        traces: title -> steps; titles that begin with a problem's name take its colour.
        width: a key of ``WIDTHS``.
        by: ``"seconds"`` or ``"nodes"``.

    Raises:
        StudyError: unknown width.  ProblemError: unknown axis, or no trace.
    """
    inches, columns = size(width)
    if not traces:
        raise ProblemError("there is nothing to draw; give at least one trace")
    columns = min(columns, len(traces))
    inches = min(inches, 2.8 * columns)
    lines = -(-len(traces) // columns)
    with new_figure(inches, 1.9 * lines + 0.1) as figure:
        axes: list[Axes] = list(figure.subplots(lines, columns, squeeze=False).flat)
        for ax, (title, steps) in zip(axes, traces.items(), strict=False):
            problem = PRUNING if title.startswith(PRUNING) else QUANTIZATION
            anytime_panel(steps, ax=ax, colour=PROBLEM_COLOURS[problem], by=by)
            ax.set_title(wrap(title, 0.75 * inches / columns))
        for ax in axes[len(traces) :]:
            ax.remove()
        axes[0].set_ylabel("SNR, dB (per chunk)")
        handles = [
            Line2D([], [], color="0.35", linewidth=0.9, linestyle="--", label="bound"),
            Line2D([], [], color="0.35", linewidth=1.1, label="attained"),
            Line2D([], [], color="0.35", marker="o", markersize=3.5, linestyle="", label="settled"),
        ]
        add_legend(figure, handles, handlelength=2.0)
    return figure
