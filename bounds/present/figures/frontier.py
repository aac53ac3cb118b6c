"""The frontier of mixed precision: what every budget of bits attains, and what none can beat."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bounds.present.figures.style import METHOD_COLOURS, new_figure
from bounds.problem.range import decibels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from bounds.gap.allocate import Allocation, Frontier


def frontier_figure(found: Allocation, inches: float = 3.4) -> Figure:
    """Relative error in dB against true bits a weight: the two frontiers, equal widths, the choice.

    Args:
        found: from ``bounds.gap.allocate.allocate``.
        inches: width.
    """
    with new_figure(inches, 0.75 * inches) as figure:
        frontier_panel(found, ax=figure.subplots())
    return figure


def frontier_panel(found: Allocation, *, ax: Axes) -> None:
    """Draw into ``ax``; lower is better."""
    count = sum(layer.weights for layer in found.layers)
    layers = len(found.layers)
    for one, colour, label in (
        (found.attained, METHOD_COLOURS[0], "best allocation, attained"),
        (found.proven, METHOD_COLOURS[1], "no allocation is below (proven)"),
    ):
        bits, decibels_ = _curve(one, count, layers)
        ax.step(bits, decibels_, where="post", color=colour, linewidth=1.2, label=label)
    widths = sorted(set.intersection(*(set(layer.widths) for layer in found.layers)))
    places = [[layer.widths.index(width) for layer in found.layers] for width in widths]
    equal = [
        (
            sum(layer.storage[i] for layer, i in zip(found.layers, at, strict=True)) / count,
            sum(
                layer.attained[i] * layer.importance
                for layer, i in zip(found.layers, at, strict=True)
            ),
        )
        for at in places
    ]
    points = [(bits, decibels(error / layers, 1.0)) for bits, error in equal if error > 0]
    if points:
        ax.plot(*zip(*points, strict=True), "s", color="0.35", ms=3.5, label="one width for all")
    if found.error > 0:
        ax.plot(
            [found.bits], [decibels(found.error / layers, 1.0)], "o", color=METHOD_COLOURS[2], ms=5,
            label="chosen",
        )  # fmt: skip
    ax.set_xlabel("true bits a weight")
    ax.set_ylabel("mean relative error, dB")
    ax.grid(linewidth=0.3, color="0.85")
    ax.legend(frameon=False)


def _curve(one: Frontier, count: int, layers: int) -> tuple[np.ndarray, np.ndarray]:
    """Bits a weight and dB of the mean error where it is not zero."""
    known = one.errors > 0
    return one.storage[known] / count, np.array(
        [decibels(e / layers, 1.0) for e in one.errors[known]]
    )
