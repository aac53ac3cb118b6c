"""What users give, taken as plain numbers and arrays; anything else is refused by name."""

from __future__ import annotations

import math
import numbers
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bounds.errors import ProblemError


def whole_number(name: str, value: object, least: int, default: str = "") -> int:
    """``value`` as an int of at least ``least``; whole floats such as 1e6 are taken, truths not.

    Args:
        name: of the argument, for the message.
        value: what was given.
        least: the smallest that has a meaning.
        default: what else may be given, in words, such as ``" or None"``.

    Raises:
        ProblemError: anything else.
    """
    number = _plain(value)
    if not isinstance(number, numbers.Integral) and number is not None:
        number = float(number) if math.isfinite(number) and number == int(number) else None
    if number is not None and int(number) >= least:
        return int(number)
    raise ProblemError(f"{name} must be a whole number of at least {least}{default}, got {value!r}")


def real_number(name: str, value: object, wanted: str) -> float:
    """``value`` as a float, infinity included; truths, text, arrays and NaN are refused.

    Raises:
        ProblemError: saying that ``name`` must be ``wanted``.
    """
    number = _plain(value)
    try:
        real = math.nan if number is None else float(number)
    except OverflowError:  # a Python integer beyond float64
        real = math.inf if value > 0 else -math.inf  # type: ignore[operator]
    if math.isnan(real):
        raise ProblemError(f"{name} must be {wanted}, got {value!r}")
    return real


def real_array(name: str, value: Any) -> NDArray:
    """``value`` as an array of real numbers, float64 or narrower, in the precision it has.

    Tensors of torch are taken too: off their graph, and those that numpy has no type for (bfloat16)
    widened. Nothing is copied that need not be.

    Raises:
        ProblemError: masked arrays, ragged lists, and what is no number, or a wider one.
    """
    if isinstance(value, np.ma.MaskedArray):
        raise ProblemError(f"{name} is a masked array; fill its gaps or leave them out first")
    try:
        array = _from_tensor(value) if hasattr(value, "detach") else np.asarray(value)
    except (ValueError, TypeError, RuntimeError) as error:
        raise ProblemError(f"{name} cannot be taken as an array: {error}") from error
    if array.dtype.kind not in "fiu":
        raise ProblemError(f"{name} must be real numbers, got dtype {array.dtype}")
    if array.dtype.itemsize > 8 and array.dtype.kind == "f":
        raise ProblemError(f"{name} must be float64 or narrower, got {array.dtype}")
    return array


def finite_array(name: str, value: Any) -> NDArray[np.float64]:
    """``value`` as float64 without NaN or infinity.

    Raises:
        ProblemError: as ``real_array``, and for NaN and infinity, with the place.
    """
    array = real_array(name, value).astype(np.float64)
    if not np.isfinite(array).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise ProblemError(f"{name} has a NaN or infinite entry at {where}; remove it first")
    return array


def _from_tensor(value: Any) -> NDArray:
    """A tensor of torch as an array; torch itself is not loaded for it."""
    tensor = value.detach().cpu()
    try:
        return tensor.numpy()
    except TypeError:  # a type that numpy does not have
        if not tensor.dtype.is_floating_point:
            raise
        return tensor.float().numpy()


def _plain(value: Any) -> Any:
    """A real number that is no truth value; None for everything else."""
    real = isinstance(value, numbers.Real) and not isinstance(value, bool | np.bool_)
    return value if real else None
