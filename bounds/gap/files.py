"""Compressed weights of one layer from anybody's tool, dequantized; never anything executable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from bounds.errors import ProblemError
from bounds.gap.formats.tensors import Loader, open_tensors, unreadable
from bounds.gap.stored import Stored, as_stored

_SHOWN = 8


def read_weights(
    path: str | Path, shapes: Sequence[tuple[int, ...]], tensor: str | None = None
) -> Stored:
    """The compressed weights of one layer, as they are stored, in the first of ``shapes``.

    Their precision is that of the file: bfloat16 and float8 are widened, and known as such.

    Args:
        path: a safetensors, numpy or torch file, or a folder of shards; what would need pickle is
            refused.
        shapes: shapes that are the layer's, all of one size.
        tensor: which array of the file; by default the only one that has a fitting shape.

    Raises:
        ProblemError: missing, damaged or of another kind; no or several arrays that fit; an array
            of another shape, of codes instead of weights, or with NaN or infinity.
    """
    path = Path(path)
    tensors = open_tensors(path)
    name = _choose(path, tensors.shapes, shapes, tensor)
    found = _loaded(path, name, tensors.load)
    array = found.values
    what = f"{path.name} {name}".strip()
    if array.shape not in shapes:
        wanted = " or ".join(map(str, dict.fromkeys(shapes)))
        raise ProblemError(f"{what} has shape {array.shape}, the layer has {wanted}")
    if not np.isfinite(array).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise ProblemError(f"{what} has a NaN or infinite entry at {where}; mend it first")
    return Stored(array.reshape(shapes[0]), found.accuracy)


def _choose(
    path: Path,
    names: Mapping[str, tuple[int, ...]],
    shapes: Sequence[tuple[int, ...]],
    tensor: str | None,
) -> str:
    """The array that is meant."""
    listed = ", ".join(list(names)[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
    if tensor is not None:
        if tensor not in names or not tensor:
            raise ProblemError(f"{path} has no tensor {tensor!r}; it has {listed or 'one array'}")
        return tensor
    if len(names) == 1:
        return next(iter(names))
    fitting = [name for name, shape in names.items() if shape in shapes]
    if len(fitting) != 1:
        found = f"{len(fitting)} of them fit" if fitting else "none of them fits"
        shown = ", ".join(fitting[:_SHOWN]) or listed or "none"
        raise ProblemError(
            f"{path} has {len(names)} tensors and {found} the layer's shape {shapes[-1]}; choose "
            f"with --tensor: {shown}"
        )
    return fitting[0]


def _loaded(path: Path, name: str, load: Loader) -> Stored:
    what = f"{path.name} {name}".strip()
    try:
        raw = load(name)
        if isinstance(raw, np.ndarray) and raw.dtype.kind != "f":
            raise ProblemError(
                f"{what} holds {raw.dtype}, not real numbers; give dequantized weights, step times "
                "codes"
            )
        return as_stored(what, raw)
    except ProblemError:
        raise
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        raise unreadable(path, error) from error
