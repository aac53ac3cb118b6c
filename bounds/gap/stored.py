"""Weights as a file or another tool holds them, with the precision they were rounded to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bounds.errors import ProblemError
from bounds.problem.checks import real_array

#: Spacing of numbers above one in formats that numpy does not have, by torch's names.
NARROW = {"bfloat16": 2.0**-7, "float8_e4m3fn": 2.0**-3, "float8_e5m2": 2.0**-2}


@dataclass(frozen=True)
class Stored:
    """Real numbers and how precisely they were held.

    Attributes:
        values: of any shape, widened without loss where numpy has no such type.
        accuracy: spacing of the stored format above one: 2^-52 for float64, 2^-7 for bfloat16.
    """

    values: NDArray[np.floating]
    accuracy: float


def as_stored(name: str, given: Any) -> Stored:
    """Arrays, lists and tensors of torch with their own precision; ``Stored`` as it is.

    Raises:
        ProblemError: no real numbers, or codes (integers) instead of weights.
    """
    if isinstance(given, Stored):
        return given
    array = real_array(name, given)
    if array.dtype.kind != "f":
        raise ProblemError(f"{name} must be float64 or narrower, got {array.dtype}")
    kind = str(getattr(given, "dtype", "")).removeprefix("torch.")
    return Stored(array, NARROW.get(kind, float(np.finfo(array.dtype).eps)))
