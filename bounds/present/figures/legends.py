"""Legends and words that fit: measured where they are drawn, wrapped where they are too wide."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D

#: Inches between a legend and what is around it.
_GAP = 0.06
_LOOK: dict[str, Any] = {
    "frameon": False,
    "columnspacing": 1.0,
    "handletextpad": 0.5,
    "borderpad": 0.1,
}


def wrap(text: str, inches: float, points: float = 7.0) -> str:
    """Break a text into lines no longer than ``inches``, in letters of ``points``."""
    # DejaVu Sans is 0.6 em wide on average, digits a little wider.
    return fill(text, max(int(inches * 72 / (0.62 * points)), 8))


def add_legend(
    figure: Figure, handles: Sequence[Line2D], *, title: str = "", handlelength: float = 1.0
) -> None:
    """A legend above all panels in as few rows as its width allows; the figure grows by its height.

    Args:
        figure: in the constrained layout.
        handles: its entries.
        title: a sentence above them, wrapped to the width of the figure.
        handlelength: width of a mark, in letters.
    """
    width, height = figure.get_size_inches()
    look = _LOOK | {"handlelength": handlelength, "loc": "outside upper center"}
    if title:
        look["title"] = wrap(title, width - 2 * _GAP, 7.5)
    renderer = FigureCanvasAgg(figure).get_renderer()
    for columns in _columns(len(handles)):
        legend = figure.legend(handles=handles, ncols=columns, **look)
        box = legend.get_window_extent(renderer)
        if box.width <= (width - 2 * _GAP) * figure.dpi or columns == 1:
            figure.set_size_inches(width, height + box.height / figure.dpi)
            return
        legend.remove()


def add_panel_legends(figure: Figure, titles: Sequence[str]) -> None:
    """A title over every panel and under it the legend of its labelled lines, above all data.

    Legends have as few rows as the width of their panels allows; the figure grows by their height.

    Args:
        figure: in the constrained layout, with one entry of ``titles`` a panel.
        titles: what the panels are called; the first has the place of a title in the layout.
    """
    for ax, title in zip(figure.axes, titles, strict=True):
        ax.set_title(title)
    figure.draw_without_rendering()  # the layout: how wide the panels are
    tallest = max(map(panel_legend, figure.axes)) / figure.dpi
    for ax, title in zip(figure.axes, titles, strict=True):
        ax.set_title(title, pad=tallest * 72 + 2)
    width, height = figure.get_size_inches()
    lines = len({round(ax.get_position().y0, 3) for ax in figure.axes})
    figure.set_size_inches(width, height + lines * tallest)


def _columns(entries: int) -> list[int]:
    """Columns of a legend of one row, of two, and so on, each with no more than its rows need."""
    return list(dict.fromkeys(-(-entries // rows) for rows in range(1, entries + 1)))


def panel_legend(ax: Axes) -> float:
    """Put the legend of the labelled lines on top of a panel; returns its height in pixels."""
    figure = ax.get_figure(root=True)
    assert figure is not None
    renderer = FigureCanvasAgg(figure).get_renderer()
    handles = [line for line in ax.get_lines() if not str(line.get_label()).startswith("_")]
    room = ax.get_window_extent(renderer).width
    legend: Legend | None = None
    for columns in _columns(len(handles)):
        legend = ax.legend(
            handles=handles,
            ncols=columns,
            loc="lower center",
            bbox_to_anchor=(0.5, 1.0),
            borderaxespad=0.0,
            handlelength=1.5,
            **_LOOK,
        )
        if legend.get_window_extent(renderer).width <= room:
            break
    return 0.0 if legend is None else legend.get_window_extent(renderer).height
