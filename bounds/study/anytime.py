"""Bound and attained SNR of one problem as its search goes on.

The search is run again and again with growing limits on its nodes, so every point is what a user
with that limit gets; a wrong order of bounds would show.
"""

from __future__ import annotations

from collections.abc import Iterator

from numpy.typing import ArrayLike

from bounds.errors import ProblemError
from bounds.problem.range import EXACT, Range, snr
from bounds.results.steps import Step

#: Node limits grow by this factor, from one node on.
GROWTH = 4
MOST_STEPS = 24


def trace(
    gram: ArrayLike,
    weights: ArrayLike,
    *,
    bits: int | None = None,
    scale: ArrayLike | None = None,
    keep: int | None = None,
    seconds: float = 60.0,
) -> list[Step]:
    """Solve one problem exactly under node limits 1, 4, 16, ... until it is settled.

    Args:
        gram: (n, n) Gram matrix.
        weights: (channels, n) or (n,).
        bits: with ``scale``, for quantization.
        scale: the quantization step, one or one per channel.
        keep: for pruning, instead of ``bits`` and ``scale``.
        seconds: no further run is started after so long, and none runs longer a channel.

    Raises:
        ProblemError: neither or both problems are given, or the numbers define none.
    """
    if (keep is None) == (bits is None or scale is None):
        raise ProblemError("give bits and scale for quantization, or keep for pruning")
    steps: list[Step] = []
    spent = 0.0
    # The first run compiles or loads the kernels; its time is not the search's.
    _solve(gram, weights, bits, scale, keep, 1, seconds)
    for limit in _limits():
        found = _solve(gram, weights, bits, scale, keep, limit, seconds)
        steps.append(_step(limit, found))
        spent += found.seconds
        if steps[-1].exact or spent > seconds:
            break
    return steps


def _limits() -> Iterator[int]:
    return (GROWTH**power for power in range(MOST_STEPS))


def _solve(
    gram: ArrayLike,
    weights: ArrayLike,
    bits: int | None,
    scale: ArrayLike | None,
    keep: int | None,
    limit: int,
    seconds: float,
) -> Range:
    # Only the kernels of the problem at hand are imported: they load slowly.
    if keep is not None:
        from bounds.pruning.solve import pruning_range

        return pruning_range(gram, weights, keep=keep, node_limit=limit, time_limit=seconds)
    from bounds.quantization.solve import quantization_range

    assert bits is not None
    assert scale is not None
    return quantization_range(
        gram, weights, bits=bits, scale=scale, node_limit=limit, time_limit=seconds
    )


def _step(limit: int, found: Range) -> Step:
    return Step(
        limit=limit,
        nodes=int(found.nodes.sum()),
        seconds=found.seconds,
        snr_attained=snr(found.energy, found.upper),
        snr_bound=snr(found.energy, found.lower),
        exact=found.count(EXACT) == len(found.energy),
    )
