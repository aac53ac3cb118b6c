"""A chunk on a grid that was chosen in the whole layer: its groups go on from chunk to chunk."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache

import numpy as np

from bounds.problem.answer import answer
from bounds.problem.attempt import Options
from bounds.problem.gram import check_problem, round_weights
from bounds.problem.grid import Grid
from bounds.problem.limits import Limits
from bounds.problem.range import Range
from bounds.problem.rule import GridRule
from bounds.problem.slices import Progress
from bounds.study.run.solving import ChunkProblem
from layers.dump.file import LayerDump


@lru_cache(maxsize=8)  # every chunk asks for the layer's, which may have been searched for seconds
def layer_grid(layer: LayerDump, rule: GridRule, rounding: str) -> Grid:
    """The grid that ``rule`` makes from a layer's weights (channels, n), rounded as asked.

    Raises:
        ProblemError: weights that do not fit ``rounding``, or steps their format.
    """
    return rule.grid(round_weights(np.array(layer.weights, np.float64), rounding))


def true_bits(layer: LayerDump, grid: Grid) -> float:
    """Bits a weight of a layer on ``grid``, steps and zero points counted."""
    return grid.bits_a_weight(layer.features, "true", layer.channels)


def quantize_on(
    piece: ChunkProblem,
    layer: LayerDump,
    grid: Grid,
    method: str,
    *,
    time_limit: float | None,
    node_limit: int | None = None,
    seed: int = 0,
    pairs: int = 0,
    progress: Progress | None = None,
) -> Range:
    """Range of a piece of ``layer`` on ``grid``, that of the whole layer.

    ``progress`` is told the channels done, as by ``bounds.problem.answer``.
    """
    chunk = piece.chunk
    rows = chunk.channels.start + np.array(piece.channels)
    problem = check_problem(chunk.gram, piece.weights)
    notes = (*problem.notes, *grid.remarks(layer.features))
    seconds = None if time_limit is None or math.isinf(time_limit) else time_limit
    return answer(
        replace(problem, notes=notes),
        grid.rows(rows).columns(layer.features, chunk.features),
        method,
        Options(Limits(seconds, node_limit), seed, pairs),
        progress=progress,
    )
