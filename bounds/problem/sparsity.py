"""What may be kept: one budget for all inputs, or N of every M consecutive ones."""

from __future__ import annotations

import numpy as np

from bounds.errors import ProblemError
from bounds.pruning.reduced import Ints


def budget(features: int, keep: int | None, pattern: tuple[int, int] | None) -> tuple[Ints, Ints]:
    """Groups (n,) of the inputs and capacities (groups,): nonzeros allowed in each.

    A pattern (N, M) counts its groups from the first input given, so a chunk should begin at a
    multiple of M. Where M does not divide n, the last group is shorter and may still hold N.

    Raises:
        ProblemError: neither or both of ``keep`` and ``pattern``, or numbers out of range.
    """
    if pattern is not None and keep is None:
        most, size = _pattern(pattern)
        group = np.arange(features, dtype=np.int64) // size
        return group, np.minimum(most, np.bincount(group))
    if keep is None or pattern is not None:
        raise ProblemError("give either keep, the nonzeros allowed per channel, or pattern")
    if not _whole(keep) or not 0 <= keep <= features:
        raise ProblemError(f"keep must be an integer from 0 to {features} inputs, got {keep}")
    return np.zeros(features, np.int64), np.array([int(keep)])


def _pattern(pattern: tuple[int, int]) -> tuple[int, int]:
    whole = isinstance(pattern, tuple | list) and all(_whole(number) for number in pattern)
    if not (whole and len(pattern) == 2 and 1 <= pattern[0] <= pattern[1]):
        raise ProblemError(f"pattern must be two integers (N, M), 1 <= N <= M, got {pattern!r}")
    return int(pattern[0]), int(pattern[1])


def _whole(value: float) -> bool:
    number = isinstance(value, int | float | np.integer) and not isinstance(value, bool)
    return number and float(value).is_integer()
