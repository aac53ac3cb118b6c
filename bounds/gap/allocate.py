"""How many bits for which layer: the best use of a budget, and what no use of it can beat.

Every layer is quantized whole at several bit widths; its relative error is what an attained method
leaves of its energy, and at least what is proven. A budget of bits is then shared out so that the
sum of relative errors (each times the layer's importance) is least: exactly, by dynamic programming
over all allocations that no other one beats in both storage and error. The same over the proven
errors is a limit: no allocation within the budget, and no weights on these grids, have less.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bounds.errors import ProblemError
from bounds.problem.answer import answer
from bounds.problem.attempt import Options
from bounds.problem.gram import check_problem
from bounds.problem.limits import Limits
from bounds.problem.range import decibels
from bounds.problem.rule import GridRule

if TYPE_CHECKING:
    from layers.dump.layer import LayerDump

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

WIDTHS = (2, 3, 4, 5, 6, 8)
RULE = "int{bits}-channel-mse"
#: Narrow layers are searched to the optimum, wide ones bounded.
SEARCHED, SECONDS = 36, 1.0
#: States a frontier may have; far more than layers of real networks give.
MOST_STATES = 4_000_000


@dataclass(frozen=True)
class Choices:
    """A layer at several bit widths.

    Attributes:
        layer: its name.
        widths: bits of a code, ascending.
        storage: whole bits of the layer at each, steps included.
        attained, lower: relative errors, error over energy, at each; ``lower`` is 0 where nothing
            is proven.
        weights: number of weights.
        importance: factor of its error in the sum.
    """

    layer: str
    widths: tuple[int, ...]
    storage: tuple[int, ...]
    attained: tuple[float, ...]
    lower: tuple[float, ...]
    weights: int
    importance: float = 1.0


@dataclass(frozen=True, eq=False)
class Frontier:
    """Allocations that none beats in both, by growing storage.

    Attributes:
        storage: (states,) whole bits; errors: (states,) sums of relative errors.
        picks: (states, layers) which width of each layer.
    """

    storage: Ints
    errors: Floats
    picks: NDArray[np.int8]

    def best(self, budget: int) -> int:
        """The state of least error within so many bits.

        Raises:
            ProblemError: none is small enough.
        """
        fits = int(np.searchsorted(self.storage, budget, side="right"))
        if fits == 0:
            raise ProblemError(
                f"the budget of {budget} bits is below {int(self.storage[0])}, what all layers "
                "need at their fewest bits"
            )
        return fits - 1


@dataclass(frozen=True, eq=False)
class Allocation:
    """What a budget is best spent on.

    Attributes:
        layers: the choices there were.
        widths: the bit width of each layer.
        bits: true bits a weight that it takes, on average.
        error: sum of relative errors that it attains.
        limit: that no allocation within the budget is below, proven.
        attained, proven: the two frontiers.
    """

    layers: tuple[Choices, ...]
    widths: tuple[int, ...]
    bits: float
    error: float
    limit: float
    attained: Frontier
    proven: Frontier

    @property
    def loss(self) -> float:
        """At most so many dB better could any allocation and any weights be."""
        return decibels(self.error, self.limit)


def measure(
    dumps: Sequence[LayerDump],
    *,
    widths: Sequence[int] = WIDTHS,
    rule: str = RULE,
    method: str = "gptq",
    importance: Mapping[str, float] | None = None,
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> list[Choices]:
    """Attained and proven errors of whole layers at every bit width.

    Args:
        dumps: with whole Gram matrices.
        widths: bits of a code.
        rule: of the grids, with ``{bits}`` in it.
        method: whose errors are attained, or ``"best"``: whatever was found.
        importance: factors of layers' errors, 1 unless given.
        progress: told of layers and widths done, and of all.

    Raises:
        ProblemError: a dump of blocks, or a layer without energy.
    """
    found = []
    total = len(dumps) * len(widths)
    for place, dump in enumerate(dumps):
        if dump.block_width is not None:
            raise ProblemError(
                f"the dump of {dump.layer} holds blocks of its Gram matrix; extract it again with "
                "--blocks full"
            )
        rows = []
        for step, bits in enumerate(widths):
            progress(place * len(widths) + step, total)
            rows.append(_measured(dump, rule.format(bits=bits), method))
        energy = rows[0][3]
        if energy <= 0:
            raise ProblemError(f"{dump.layer} puts out nothing but zeros; leave it out")
        found.append(
            Choices(
                dump.layer, tuple(widths), tuple(r[0] for r in rows),
                tuple(r[1] / energy for r in rows), tuple(r[2] / energy for r in rows),
                dump.weights.size, float((importance or {}).get(dump.layer, 1.0)),
            )
        )  # fmt: skip
    progress(total, total)
    return found


def _measured(dump: LayerDump, rule: str, method: str) -> tuple[int, float, float, float]:
    """Storage in bits, attained and proven error, and energy of a layer on one grid."""
    grid = GridRule.parse(rule).grid(dump.weights)
    attained = lower = energy = 0.0
    for chunk in dump.chunks(None):
        problem = check_problem(chunk.gram, chunk.weights)
        own = grid.rows(chunk.channels)
        narrow = problem.features <= SEARCHED
        bound = answer(problem, own, "exact" if narrow else "sdp-shared", Options(Limits(SECONDS)))
        best = bound.upper
        if method != "best":
            best = answer(problem, own, method).upper
        attained += float(best.sum())
        lower += float(np.minimum(bound.lower, best).sum())
        energy += float(problem.energy.sum())
    stored = grid.bits_a_weight(dump.features, "stored", dump.channels) * dump.weights.size
    return math.ceil(stored), attained, lower, energy


def frontier(layers: Sequence[Choices], proven: bool = False) -> Frontier:
    """Every allocation that none beats in both storage and error: exact, by dynamic programming.

    Args:
        layers: measured; ``proven``: whether the lower errors count instead of the attained.

    Raises:
        ProblemError: no layer, or more states than memory should hold.
    """
    if not layers:
        raise ProblemError("there is no layer to give bits to")
    storage, errors = np.zeros(1, np.int64), np.zeros(1)
    steps: list[tuple[Ints, NDArray[np.int8]]] = []
    for layer in layers:
        own = np.array(layer.lower if proven else layer.attained) * layer.importance
        sizes = np.array(layer.storage, np.int64)
        all_sizes = (storage[:, None] + sizes).ravel()
        all_errors = (errors[:, None] + own).ravel()
        # By size, of equals the least error first; then only what is better than all smaller.
        order = np.lexsort((all_errors, all_sizes))
        least = np.minimum.accumulate(all_errors[order])
        kept = order[np.concatenate([[True], all_errors[order][1:] < least[:-1]])]
        if len(kept) > MOST_STATES:
            raise ProblemError(
                f"{len(kept)} allocations are worth comparing; ask for fewer widths or layers"
            )
        storage, errors = all_sizes[kept], all_errors[kept]
        steps.append((kept // len(own), (kept % len(own)).astype(np.int8)))
    picks = np.empty((len(storage), len(layers)), np.int8)
    at = np.arange(len(storage))
    for place in range(len(layers) - 1, -1, -1):
        before, pick = steps[place]
        picks[:, place] = pick[at]
        at = before[at]
    return Frontier(storage, errors, picks)


def allocate(layers: Sequence[Choices], bits: float) -> Allocation:
    """The best widths within ``bits`` true bits a weight on average, and the limit on any.

    Raises:
        ProblemError: a budget below what the fewest bits need, or that is no number.
    """
    if not 0 < bits < math.inf:
        raise ProblemError(f"bits must be a positive number of bits a weight, got {bits!r}")
    attained, proven = frontier(layers), frontier(layers, proven=True)
    count = sum(layer.weights for layer in layers)
    # A bit for each layer, whose storage was rounded up.
    budget = math.floor(bits * count) + len(layers)
    best, limit = attained.best(budget), proven.best(budget)
    widths = tuple(
        layer.widths[int(pick)] for layer, pick in zip(layers, attained.picks[best], strict=True)
    )
    return Allocation(
        tuple(layers), widths, float(attained.storage[best]) / count,
        float(attained.errors[best]), float(proven.errors[limit]), attained, proven,
    )  # fmt: skip
