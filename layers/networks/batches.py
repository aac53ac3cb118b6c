"""Batches: whatever a network's forward takes, each with a name and a hash."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from layers.errors import CalibrationError
from layers.images.calibration import spread

ORIGIN = "batches"
#: Deeper nesting than any network takes; an object that holds itself ends here.
DEEPEST = 16


@dataclass(frozen=True, eq=False)
class Batch:
    """The arguments of one call of a network.

    Attributes:
        name: in messages and in the dump.
        value: a tensor or array, a tuple or list of arguments, or a mapping of named ones.
        sha256: of the value.
    """

    name: str
    value: Any
    sha256: str


@dataclass(frozen=True, eq=False)
class Batches:
    """The two parts of the batches, as ``Calibration`` has them of images; ``heldout`` may be none.

    Attributes:
        images: those whose activations make the calibration Gram.
        heldout: those whose activations only judge the result.
        origin: what they are, for the dump.
    """

    images: tuple[Batch, ...]
    heldout: tuple[Batch, ...] = ()
    origin: str = ORIGIN

    def split(self, fraction: float, count: int | None, limit: int | None) -> Batches:
        """Part of the batches held out, spread evenly, if none is yet; the first ``limit`` of all.

        Raises:
            CalibrationError: more to hold out than there is, or a fraction outside [0, 1).
        """
        if self.heldout:
            return self
        every = self.images if limit is None else self.images[:limit]
        total = len(every)
        if count is None:
            if not 0 <= fraction < 1:
                raise CalibrationError(f"heldout_fraction {fraction} must lie in [0, 1)")
            count = min(round(total * fraction), total - 1)
        if not 0 <= count < total:
            raise CalibrationError(
                f"cannot hold out {count} of {total} batches: choose 0 to {total - 1}"
            )
        held = spread(total, count)
        return Batches(
            tuple(batch for i, batch in enumerate(every) if i not in held),
            tuple(batch for i, batch in enumerate(every) if i in held),
            self.origin,
        )


def make_batches(
    batches: Iterable[Any], heldout: Iterable[Any] | None = None, origin: str = ORIGIN
) -> Batches:
    """Name and hash what a network is to be called with.

    Args:
        batches: each a tensor, a tuple of arguments, or a mapping of named arguments.
        heldout: the same, of the part that only judges; None for no such part.
        origin: what they are.

    Raises:
        CalibrationError: no batch, or a single tensor instead of several batches.
    """
    calibration = _named(batches, "batch")
    if not calibration:
        raise CalibrationError("there is no batch; give at least one input to calibrate with")
    return Batches(calibration, _named(heldout or (), "held-out batch"), origin)


def _named(values: Iterable[Any], name: str) -> tuple[Batch, ...]:
    if isinstance(values, Tensor | np.ndarray | Mapping | str):
        raise CalibrationError(
            f"batches must be an iterable of inputs, got one {type(values).__name__}; "
            "write [inputs] for a single batch"
        )
    return tuple(Batch(f"{name} {i}", value, batch_hash(value)) for i, value in enumerate(values))


def batch_hash(value: Any) -> str:
    """sha256 over structure, types, shapes and content of a batch."""
    digest = hashlib.sha256()
    _feed(digest, value, 0)
    return digest.hexdigest()


def _feed(digest: Any, value: Any, depth: int) -> None:
    if depth > DEEPEST:
        return
    if isinstance(value, Tensor):
        flat = value.detach().cpu().contiguous().reshape(-1)
        digest.update(f"tensor {value.dtype} {tuple(value.shape)}".encode())
        digest.update(flat.view(torch.uint8).numpy().data)
    elif isinstance(value, np.ndarray):
        digest.update(f"array {value.dtype.str} {value.shape}".encode())
        digest.update(np.ascontiguousarray(value).data)
    elif isinstance(value, Mapping):
        digest.update(f"mapping {len(value)}".encode())
        for key in sorted(value, key=str):
            digest.update(f"key {key!r}".encode())
            _feed(digest, value[key], depth + 1)
    elif isinstance(value, list | tuple):
        digest.update(f"sequence {len(value)}".encode())
        for item in value:
            _feed(digest, item, depth + 1)
    elif is_dataclass(value) and not isinstance(value, type):
        _feed(digest, {f.name: getattr(value, f.name) for f in fields(value)}, depth + 1)
    elif hasattr(value, "__dict__") and not callable(value):
        digest.update(type(value).__qualname__.encode())
        _feed(digest, vars(value), depth + 1)
    else:
        digest.update(f"{type(value).__name__} {value!r}".encode())
