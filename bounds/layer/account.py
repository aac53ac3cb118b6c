"""A whole layer at one bit width: what practical methods lose, and what nobody can do without.

Quantization on one grid, pruning at the same true bits a weight (values and the entropy of their
places), each with an attained error and a proven bound, summed over all channels and groups.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bounds.layer.volume import volume_of
from bounds.problem.answer import answer
from bounds.problem.attempt import Options
from bounds.problem.gram import Problem, check_problem
from bounds.problem.grid import Grid, choose_scale
from bounds.problem.limits import Limits
from bounds.problem.range import snr
from bounds.problem.sparsity import Sparse
from bounds.problem.storage import quantization_bits, sparsity_at_true_bits

Floats = NDArray[np.float64]

#: Up to so many inputs every channel is searched, with so many nodes; and where one is not told
#: otherwise, so many inputs and more share a dual.
SEARCHED, NODES = 36, 100_000
QUANTIZATION_METHOD, PRUNING_METHOD = "sdp-shared", "perspective-shared"
#: What it names methods in a table.
HEURISTICS: tuple[str, ...] = ("rtn", "gptq")


@dataclass(frozen=True)
class Account:
    """One layer at one bit width; errors are sums over all channels, in the unit of ``energy``.

    Attributes:
        bits: of a code; true_bits: of a weight, its share of the step included.
        keep: nonzeros a channel of pruning at so many true bits.
        energy: of the uncompressed output.
        errors: attained by ``rtn``, ``gptq`` and the ``best`` found.
        volume: the volume bound, which holds for displaced weights only, but with ``failure``;
            0.0 if there is none.
        proven: lower bound on any quantized weights' error, of ``bounded`` channels.
        pruned, pruned_proven: attained and proven of pruning.
        channels, bounded, pruned_bounded: how many there are, and have a bound above zero.
        seconds: of quantization and of pruning.
        notes: remarks a reader should see.
    """

    bits: int
    true_bits: float
    inputs: int
    keep: int
    energy: float
    errors: dict[str, float]
    volume: float
    failure: float
    proven: float
    pruned: float
    pruned_proven: float
    channels: int
    bounded: int
    pruned_bounded: int
    seconds: tuple[float, float]
    notes: tuple[str, ...] = ()

    def decibels(self, error: float) -> float:
        """SNR of an error of this layer."""
        return snr(self.energy, error)


def damped(gram: Floats, damping: float) -> Floats:
    """``G`` with a share of its mean diagonal added, as GPTQ and SparseGPT minimise."""
    if damping == 0:
        return gram
    return gram + damping * float(np.diag(gram).mean()) * np.eye(len(gram))


def account(
    parts: Sequence[tuple[Floats, Floats]],
    bits: int,
    *,
    rule: str = "mse",
    failure: float = 1e-9,
    methods: tuple[str | None, str | None] = (None, None),
    told: Callable[[int], object] | None = None,
) -> Account:
    """Quantize and prune a layer, and bound both.

    Args:
        parts: (gram, weights) of every channel group, all its inputs.
        bits: width of the codes.
        rule: how the one step is chosen from all weights.
        failure: that the volume bound may have, over all groups.
        methods: for quantization and for pruning; by width where None.
        told: called with the number of parts that are done.

    Raises:
        ProblemError, MethodError: what cannot be asked.
    """
    features = parts[0][1].shape[1]
    weights = np.concatenate([w for _, w in parts])
    grid = Grid.uniform(bits, choose_scale(weights, bits, rule))
    true_bits = quantization_bits(bits, weights.size / grid.step.size)
    sparsity = sparsity_at_true_bits(min(true_bits, 16.0), "entropy")
    keep = max(int((1 - sparsity) * features + 1e-9), 0)
    small = features <= SEARCHED
    names = [
        name or ("exact" if small else wide)
        for name, wide in zip(methods, (QUANTIZATION_METHOD, PRUNING_METHOD), strict=True)
    ]
    sums = _Sums()
    for index, (gram, own) in enumerate(parts):
        problem = check_problem(gram, own)
        rows = slice(index * len(own), (index + 1) * len(own))
        sums.quantize(problem, grid.rows(rows), names[0], failure / len(parts))
        sums.prune(problem, Sparse(keep), names[1])
        if told is not None:
            told(index + 1)
    return Account(
        bits,
        true_bits,
        features,
        keep,
        sums.energy,
        sums.errors,
        sums.volume,
        failure,
        sums.proven,
        sums.pruned,
        sums.pruned_proven,
        len(weights),
        sums.bounded,
        sums.pruned_bounded,
        (sums.seconds[0], sums.seconds[1]),
        tuple(dict.fromkeys(sums.notes)),
    )


class _Sums:
    """What is added up over the groups."""

    def __init__(self) -> None:
        self.energy = self.volume = self.proven = self.pruned = self.pruned_proven = 0.0
        self.errors: dict[str, float] = dict.fromkeys((*HEURISTICS, "best"), 0.0)
        self.bounded = self.pruned_bounded = 0
        self.seconds = [0.0, 0.0]
        self.notes: list[str] = []

    def quantize(self, problem: Problem, grid: Grid, method: str, failure: float) -> None:
        began = time.perf_counter()
        options = Options(Limits(None, NODES))
        tried = [answer(problem, grid, name, options) for name in HEURISTICS]
        found = answer(problem, grid, method, options)
        best = found.upper
        for name, one in zip(HEURISTICS, tried, strict=True):
            self.errors[name] += float(one.upper.sum())
            best = np.minimum(best, one.upper)
        self.errors["best"] += float(best.sum())
        self.energy += float(problem.energy.sum())
        self.proven += float(found.lower.sum())
        self.bounded += int((found.lower > 0).sum())
        self.volume += volume_of(problem, grid, failure).lower
        self.notes += found.notes
        self.seconds[0] += time.perf_counter() - began

    def prune(self, problem: Problem, budget: Sparse, method: str) -> None:
        began = time.perf_counter()
        found = answer(problem, budget, method, Options(Limits(None, NODES)))
        self.pruned += float(found.upper.sum())
        self.pruned_proven += float(found.lower.sum())
        self.pruned_bounded += int((found.lower > 0).sum())
        self.notes += found.notes
        self.seconds[1] += time.perf_counter() - began
