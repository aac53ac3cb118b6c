"""What every reader returns: the weights of one layer, and the grid they are on."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bounds.problem.grid import Grid

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: A group without a step holds one value; it is given this share of its channel's largest step.
NO_STEP = 2.0**-20
EXACT = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, eq=False)
class Weights:
    """One layer as a file holds it.

    Attributes:
        name: of the layer, without ``.weight``.
        values: the weights in the network's shape, products of levels and steps where there is a
            grid; float64.
        accuracy: spacing above one of the format they are stored in, 2^-52 where codes are stored.
        grid: of the rows (out, n) of ``values``; None where the file says nothing about it.
        order: (n,) the inputs in an order in which the grid's groups are consecutive; None for
            their own order.
        said: what the file says it is, in words.
    """

    name: str
    values: Floats
    accuracy: float
    grid: Grid | None = None
    order: Ints | None = None
    said: str = ""

    @property
    def rows(self) -> Floats:
        """(out, n)."""
        return self.values.reshape(len(self.values), -1)


def on_grid(
    name: str,
    levels: Floats,
    grid: Grid,
    said: str,
    *,
    order: Ints | None = None,
    shape: tuple[int, ...] | None = None,
) -> Weights:
    """Weights of levels (out, n) of a grid; ``order`` as in ``Weights``, applied to ``grid`` alone.

    Steps below zero and groups without a step (both occur in GGUF) become steps above zero.
    """
    placed = levels if order is None else levels[:, order]
    values = _values(placed, grid)
    if order is not None:
        back = np.empty_like(values)
        back[:, order] = values
        values = back
    return Weights(name, values.reshape(shape or values.shape), EXACT, _positive(grid), order, said)


def _values(levels: Floats, grid: Grid) -> Floats:
    shape = levels.shape
    return (levels - grid.zeros(*shape)) * grid.steps(*shape)


def _positive(grid: Grid) -> Grid:
    """The same points by positive steps; more of them where a code book is not symmetric."""
    levels, step, zero = grid.levels, np.array(grid.step), np.array(grid.zero)
    turned = step < 0
    if turned.any():
        # s (l - z) = |s| ((lo + hi - l) - (lo + hi - z)) where levels are symmetric about there.
        if grid.uniform_levels:
            zero = np.where(turned, grid.lo + grid.hi - zero, zero)
        else:
            levels, zero = (
                np.unique(np.concatenate([levels, -levels])),
                np.where(turned, -zero, zero),
            )
        step = np.abs(step)
    none = step == 0
    if none.any():
        step = np.where(none, _tiny(step), step)
        zero = np.where(none, levels[np.argmin(np.abs(levels))], zero)
    return replace(grid, levels=levels, step=step, zero=zero)


def _tiny(step: Floats) -> Floats:
    """Steps so small that a group has one value, but for what no error notices."""
    largest = np.abs(step).max(axis=1, keepdims=True)
    return np.broadcast_to(np.where(largest > 0, largest, 1.0) * NO_STEP, step.shape)


def plus_offset(grid: Grid, offset: Floats) -> Grid:
    """The grid moved by ``offset`` (channels, groups) in the unit of the weights (Q4_1, Q4_K)."""
    step, zero = np.array(grid.step), np.array(grid.zero)
    step = np.where(step == 0, _tiny(step), step)
    return replace(grid, step=step, zero=zero - offset / step)


def grouping(group_index: Ints) -> tuple[Ints | None, int | None]:
    """Order and group size of inputs whose groups (n,) are named one by one.

    Returns:
        An order in which groups are consecutive (None if they are already), and the size of a
        group, None for a single one.
    """
    order = np.argsort(group_index, kind="stable")
    counts = np.bincount(group_index)
    size = None if len(counts) == 1 else int(counts[0])
    return (None if np.array_equal(order, np.arange(len(order))) else order), size
