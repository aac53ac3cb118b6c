"""Compressed weights from anybody's tool: safetensors or numpy files, never anything executable."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bounds.errors import ProblemError
from bounds.gap.stored import Stored, as_stored

SUFFIXES = (".safetensors", ".npy", ".npz")
_SHOWN = 8


def read_weights(
    path: str | Path, shapes: Sequence[tuple[int, ...]], tensor: str | None = None
) -> Stored:
    """The compressed weights of one layer, as they are stored, in the first of ``shapes``.

    Their precision is that of the file: bfloat16 and float8 are widened, and known as such.

    Args:
        path: ``.safetensors``, ``.npy`` or ``.npz``; arrays that would need pickle are refused.
        shapes: shapes that are the layer's, all of one size.
        tensor: which array of the file; by default the only one that has a fitting shape.

    Raises:
        ProblemError: missing, damaged or of another kind; no or several arrays that fit; an array
            of another shape, of codes instead of weights, or with NaN or infinity.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise ProblemError(
            f"{path} is no file of weights that can be read; give {', '.join(SUFFIXES)}"
        )
    if not path.is_file():
        raise ProblemError(f"there is no file {path}; give the compressed weights of the layer")
    names, load = _open(path)
    name = _choose(path, names, shapes, tensor)
    found = _loaded(path, name, load)
    array = found.values
    what = f"{path.name} {name}".strip()
    if array.shape not in shapes:
        wanted = " or ".join(map(str, dict.fromkeys(shapes)))
        raise ProblemError(f"{what} has shape {array.shape}, the layer has {wanted}")
    if not np.isfinite(array).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise ProblemError(f"{what} has a NaN or infinite entry at {where}; mend it first")
    return Stored(array.reshape(shapes[0]), found.accuracy)


#: Gives an array, or a tensor of torch where numpy has no such numbers.
Loader = Callable[[str], Any]


def _open(path: Path) -> tuple[Mapping[str, tuple[int, ...]], Loader]:
    """Names and shapes of the arrays in a file, and how to load one."""
    try:
        if path.suffix == ".safetensors":
            return _open_safetensors(path)
        with path.open("rb") as file:
            opened = np.load(file, allow_pickle=False)
            one = isinstance(opened, np.ndarray)
            arrays = {"": opened} if one else {name: opened[name] for name in opened.files}
        return {name: array.shape for name, array in arrays.items()}, arrays.__getitem__
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, KeyError) as error:
        raise _unreadable(path, error) from error


def _open_safetensors(path: Path) -> tuple[Mapping[str, tuple[int, ...]], Loader]:
    from safetensors import SafetensorError, safe_open

    def load(name: str) -> Any:
        with safe_open(str(path), framework="numpy") as file:
            narrow = file.get_slice(name).get_dtype() in ("BF16", "F8_E4M3", "F8_E5M2")
            if not narrow:
                return file.get_tensor(name)
        with safe_open(str(path), framework="pt") as file:
            return file.get_tensor(name)

    try:
        with safe_open(str(path), framework="numpy") as file:
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise _unreadable(path, error) from error
    return shapes, load


def _unreadable(path: Path, error: Exception) -> ProblemError:
    return ProblemError(f"{path} cannot be read as {path.suffix[1:]} without pickle: {error}")


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
        raise _unreadable(path, error) from error
