"""The quadratic form of an error, ``d^T G d``, in extended precision with its rounding bounded.

Differences are formed and summed in extended precision where the platform has it, with a bound on
what rounding can do, so a value called *upper* is never below the true one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def form(gram: ArrayLike, rows: NDArray) -> NDArray[np.longdouble]:
    """``d^T G d`` for every row ``d`` of ``rows`` (channels, n), in extended precision."""
    rows = np.asarray(rows, np.longdouble)
    return ((rows @ np.asarray(gram, np.longdouble)) * rows).sum(axis=-1)


def form_upper(gram: ArrayLike, rows: NDArray) -> Floats:
    """An upper bound on ``d^T G d`` per row: the value plus all its rounding (Higham, ch. 3)."""
    gram = np.asarray(gram, np.longdouble)
    rows = np.asarray(rows, np.longdouble)
    slack = form(np.abs(gram), np.abs(rows)) * rounding_factor(gram.shape[0])
    # What vanished in a product is less than this for every row that costs anything.
    vanished = np.finfo(np.longdouble).tiny * ((rows != 0) & (np.diag(gram) > 0)).any(axis=-1)
    with np.errstate(over="ignore"):
        value = np.maximum(form(gram, rows), 0) + slack + vanished
        return np.nextafter(value.astype(np.float64), np.inf) * (value > 0)


def form_lower(gram: ArrayLike, rows: NDArray) -> Floats:
    """A lower bound on ``d^T G d`` per row, never negative: the value less all its rounding."""
    gram = np.asarray(gram, np.longdouble)
    rows = np.asarray(rows, np.longdouble)
    slack = form(np.abs(gram), np.abs(rows)) * rounding_factor(gram.shape[0])
    value = np.maximum(form(gram, rows) - slack, 0)
    return np.maximum(np.nextafter(value.astype(np.float64), -np.inf), 0.0)


def rounding_factor(n: int) -> np.longdouble:
    """A factor gamma covering every product and sum of an extended-precision ``d^T G d``."""
    return np.longdouble(2 * n + 8) * np.finfo(np.longdouble).eps
