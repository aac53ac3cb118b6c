"""Equal true storage: what pruning can do when its mask is paid for, and quantization its scales.

Quantization at b bits costs b bits a weight and 16 bits for every scale. Pruning to k of n weights
costs 16 k / n bits a weight and the mask. In quantization's budget fit at most ``k*`` weights; the
study solved pruning at some levels k, rarely at ``k*``. With fewer weights the smallest error never
falls, so

- the error attained in the budget is that of the largest level solved with k <= k* (k = 0, which
  leaves the whole energy, always fits), and
- a bound for the budget is that of any level solved with k >= k*.

The range is wider than one solved at ``k*``, but everything said of it is proven.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bounds.problem.methods import PRUNING, QUANTIZATION
from bounds.problem.storage import pruning_bits, quantization_bits
from bounds.results.ranges import BestKnown, Pair, best_known, chunk_pairs, group_rows
from bounds.results.row import Row

#: How storage is counted: values alone (the paper's), mask at its entropy, mask at 1 bit a weight.
VALUES, ENTROPY, BITMASK = "values", "entropy", "bitmask"
ACCOUNTS = (VALUES, ENTROPY, BITMASK)

#: Bits a weight by which a budget may be missed: rounding of these sums, not of storage.
_SLACK = 1e-9


@dataclass(frozen=True)
class Level:
    """Pruning solved at one k of a chunk with ``features`` inputs."""

    k: float
    features: int
    known: BestKnown

    def storage(self, account: str) -> float:
        """True bits a weight."""
        return pruning_bits(1 - self.k / self.features, account)


def pairs_at(rows: Iterable[Row], account: str) -> list[Pair]:
    """One pair per chunk and bit width, at storage counted as ``account`` says.

    ``VALUES`` is ``bounds.results.ranges.chunk_pairs``. In the others ``pruning`` is what the study
    knows about pruning within quantization's true storage, as the module says.

    Raises:
        ProblemError: another account.
    """
    rows = list(rows)
    plain = chunk_pairs(rows)
    if account == VALUES:
        return plain
    levels: dict[tuple[str, str, int], list[Level]] = {}
    budgets: dict[tuple[str, str, int, int], float] = {}
    for (source, layer, chunk, bits, problem), group in group_rows(rows).items():
        row = group[0]
        if problem == PRUNING:
            level = Level(row.kept, row.features, best_known(group))
            levels.setdefault((source, layer, chunk), []).append(level)
        else:
            budgets[source, layer, chunk, bits] = true_bits(row)
    return [
        Pair(
            source=pair.source,
            layer=pair.layer,
            chunk=pair.chunk,
            chunks=1,
            bits=pair.bits,
            quantization=pair.quantization,
            pruning=within(
                levels[pair.source, pair.layer, pair.chunk],
                budgets[pair.source, pair.layer, pair.chunk, pair.bits],
                account,
            ),
        )
        for pair in plain
        if pair.chunk is not None
    ]


def true_bits(row: Row) -> float:
    """True bits a weight of a row of quantization, its scales counted.

    A rule for the scale that ends in ``-channel`` has one scale per channel of a chunk; any other
    has one per chunk, shared by all channels of the layer whether the study solved them or not.
    """
    if row.problem != QUANTIZATION:
        return pruning_bits(1 - row.kept / row.features)
    shared = 1 if row.rule.endswith("-channel") else row.channel_total
    return quantization_bits(row.bits, row.features * shared)


def most_kept(features: int, budget: float, account: str) -> int:
    """The largest k whose values and mask fit into ``budget`` bits a weight."""
    fitting = (
        k
        for k in range(features, 0, -1)
        if pruning_bits(1 - k / features, account) <= budget + _SLACK
    )
    return next(fitting, 0)


def within(levels: Sequence[Level], budget: float, account: str) -> BestKnown:
    """What levels of one chunk know about pruning within ``budget`` true bits a weight."""
    features = levels[0].features
    most = most_kept(features, budget, account)
    fitting = [level.known for level in levels if level.storage(account) <= budget + _SLACK]
    above = [level.known for level in levels if level.k >= most]
    same = [level.known for level in levels if level.k == most]
    energy, channels = levels[0].known.energy, levels[0].known.channels
    if most == 0:  # all is pruned: the whole energy is lost, and that is exact
        return BestKnown(energy, energy, energy, energy, energy, channels, channels, 0)
    exact = same[0].exact if same else 0
    return BestKnown(
        energy=energy,
        lower=max((k.lower for k in above), default=0.0),
        upper=min((k.upper for k in fitting), default=energy),
        relaxation_bound=max((k.relaxation_bound for k in above), default=0.0),
        heuristic_error=min((k.heuristic_error for k in fitting), default=energy),
        channels=channels,
        exact=exact,
        certified=max((k.exact + k.certified for k in above), default=exact) - exact,
    )
