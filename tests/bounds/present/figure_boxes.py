"""What is wrong with how a figure is laid out: the boxes of all that is drawn, compared."""

from __future__ import annotations

from itertools import combinations

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox, BboxBase

#: Inches below which a panel shows nothing.
NARROWEST, LOWEST = 0.9, 0.9


def faults(figure: Figure) -> list[str]:
    """Sentences about boxes outside the canvas, boxes on each other, and panels too small."""
    canvas = FigureCanvasAgg(figure)
    figure.draw_without_rendering()
    renderer = canvas.get_renderer()
    panels = {f"panel {i}": ax.get_window_extent(renderer) for i, ax in enumerate(figure.axes)}
    words: dict[str, Bbox] = {}
    for name, text in figure_texts(figure):
        words[name] = text.get_window_extent(renderer)
    for number, legend in enumerate(figure.legends):
        words[f"legend {number} of the figure"] = legend.get_window_extent(renderer)
    inside: dict[str, Bbox] = {}
    for number, ax in enumerate(figure.axes):
        for name, text in panel_texts(ax):
            words[f"{name} of panel {number}"] = text.get_window_extent(renderer)
        legend = ax.get_legend()
        if legend is not None:
            words[f"legend of panel {number}"] = legend.get_window_extent(renderer)
        for text in ax.texts:
            inside[f"text {text.get_text()!r} in panel {number}"] = text.get_window_extent(renderer)
    found = [
        f"{name} leaves the canvas"
        for name, box in (words | panels | inside).items()
        if not within(box, figure.bbox)
    ]
    found += [
        f"{name} is {box.width / figure.dpi:.2f} x {box.height / figure.dpi:.2f} inches"
        for name, box in panels.items()
        if box.width < NARROWEST * figure.dpi or box.height < LOWEST * figure.dpi
    ]
    found += [
        f"{one} lies on {other}"
        for (one, a), (other, b) in combinations((words | panels).items(), 2)
        if overlap(a, b)
    ]
    found += [
        f"{name} leaves its panel"
        for name, box in inside.items()
        if not any(within(box, panel) for panel in panels.values())
    ]
    return found


def figure_texts(figure: Figure) -> list[tuple[str, Text]]:
    kinds = ("_suptitle", "_supxlabel", "_supylabel")
    return [(kind, text) for kind in kinds if (text := getattr(figure, kind)) and text.get_text()]


def panel_texts(ax: Axes) -> list[tuple[str, Text]]:
    """Title, labels and the tick labels that are seen."""
    named = [("title", ax.title), ("x label", ax.xaxis.label), ("y label", ax.yaxis.label)]
    for kind, axis in (("x", ax.xaxis), ("y", ax.yaxis)):
        low, high = sorted(axis.get_view_interval())
        ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
        named += [
            (f"{kind} tick {tick.label1.get_text()}", tick.label1)
            for tick in ticks
            if low <= tick.get_loc() <= high
        ]
    return [(name, text) for name, text in named if text.get_visible() and text.get_text()]


def within(box: BboxBase, outer: BboxBase) -> bool:
    """Up to half a pixel."""
    return (
        box.x0 >= outer.x0 - 0.5
        and box.y0 >= outer.y0 - 0.5
        and box.x1 <= outer.x1 + 0.5
        and box.y1 <= outer.y1 + 0.5
    )


def overlap(a: Bbox, b: Bbox) -> bool:
    """By more than half a pixel in both directions."""
    wide = min(a.x1, b.x1) - max(a.x0, b.x0)
    high = min(a.y1, b.y1) - max(a.y0, b.y0)
    return wide > 0.5 and high > 0.5
