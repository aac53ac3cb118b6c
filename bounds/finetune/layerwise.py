"""Layers of a network as layer-wise problems: compressed by methods of the table, and judged."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bounds.finetune.config import Judge
from bounds.gap.demand import OWN
from bounds.gap.judge import gap
from bounds.problem.answer import answer
from bounds.problem.attempt import Options
from bounds.problem.constraint import Constraint
from bounds.problem.gram import check_problem
from bounds.problem.grid import Grid, choose_scale
from bounds.problem.limits import Limits
from bounds.problem.methods import PRUNING, QUANTIZATION
from bounds.problem.range import snr
from bounds.problem.sparsity import Sparse
from bounds.problem.storage import VALUE_BITS
from layers.dump.layer import LayerDump

Floats = NDArray[np.float64]


def compress(dump: LayerDump, problem: str, method: str, bits: int, step: str) -> Floats:
    """The layer's weights (channels, n), compressed without training.

    Args:
        dump: with the whole Gram matrix.
        problem, method: of the table of methods.
        bits: the grid's, or those of equal storage: ``n bits / 16`` weights are kept in every
            channel, to the nearest whole number and one at least.
        step: ``"tensor"`` or ``"channel"``; the line search of the weights' squared error.

    Raises:
        ProblemError, MethodError: as the method does.
    """
    weights = np.array(dump.weights, np.float64)
    rule = "mse" if step == "tensor" else "mse-channel"
    steps = np.broadcast_to(choose_scale(weights, bits, rule), (len(weights),))
    found = np.empty_like(weights)
    for chunk in dump.chunks(None):
        rows = chunk.channels
        constraint: Constraint
        if problem == QUANTIZATION:
            constraint = Grid.uniform(bits, steps[rows])
        else:
            constraint = Sparse(max(1, round(dump.features * bits / VALUE_BITS)))
        asked = check_problem(chunk.gram, chunk.weights)
        found[rows] = answer(asked, constraint, method, Options(Limits(None))).weights
    return found


def _squares(gram: Floats, rows: Floats) -> float:
    """The sum of ``d^T G d`` over rows, in doubles: for an SNR to look at, not for a bound."""
    return float(np.maximum(((rows @ gram) * rows).sum(axis=1), 0.0).sum())


@dataclass(frozen=True)
class Verdict:
    """Weights held against the original layer's problem, all its inputs together.

    Attributes:
        energy, error: on the original's inputs, sums over channels.
        heldout_snr: dB, of the same weights on the held-out inputs.
        lower: proven: no weights on this grid, or with these numbers of nonzeros in the channels,
            have a smaller error; None where none was asked for.
        exact, certified: channels with such a bound.
    """

    energy: float
    error: float
    heldout_snr: float
    lower: float | None = None
    exact: int = 0
    certified: int = 0


def judge_layer(
    dump: LayerDump,
    weights: NDArray[np.floating],
    problem: str,
    *,
    bits: int | None = None,
    steps: Floats | None = None,
    bounds: Judge | None = None,
) -> Verdict:
    """Hold weights (in the layer's shape) against the problem of the original layer.

    Args:
        dump: of the original layer, with its whole Gram matrix.
        weights: compressed; they are on a grid if they are to the precision of their own type.
        problem: ``quantization`` or ``pruning``.
        bits, steps: of the grid; steps are inferred from the weights where they are not given.
        bounds: methods that prove a bound; None proves none.

    Raises:
        ProblemError, MethodError, SolverError: as ``bounds.gap.judge.gap``.
    """
    flat = np.asarray(weights).reshape(dump.weights.shape)
    original = np.array(dump.weights, np.float64)
    sums: dict[str, tuple[float, float]] = {}
    for part, block in (("gram", dump.gram_blocks[0]), ("heldout", dump.heldout_blocks[0])):
        energy = error = 0.0
        for chunk in dump.chunks(None):
            rows, gram = chunk.channels, block[chunk.group]
            energy += _squares(gram, original[rows])
            error += _squares(gram, flat[rows] - original[rows])
        sums[part] = (energy, error)
    heldout = snr(*sums["heldout"])
    energy, error = sums["gram"]
    if bounds is None or dump.features > bounds.features:
        return Verdict(energy, error, heldout)
    if problem == QUANTIZATION:
        scale = "infer" if steps is None else steps
        found = gap(dump, flat, bits=bits, scale=scale, size=None, method=bounds.quantization)
    else:
        assert problem == PRUNING
        found = gap(dump, flat, keep=OWN, size=None, method=bounds.pruning)
    # The bound is of channels whose weights are on the grid; with one that is not, there is none.
    lower = float(found.lower.sum()) if found.fits.all() else None
    settled = found.statuses["exact"], found.statuses["certified"]
    return Verdict(energy, error, heldout, lower, *settled)
