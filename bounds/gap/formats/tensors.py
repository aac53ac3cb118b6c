"""Named tensors on disk, loaded one at a time: safetensors (sharded too), numpy, torch; no code."""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bounds.errors import ProblemError
from bounds.gap.stored import Stored, as_stored

TORCH = (".pt", ".pth", ".bin")
SUFFIXES = (".safetensors", ".npy", ".npz", *TORCH)
#: Where training scripts put the weights inside their files.
WRAPPERS = ("state_dict", "model_state_dict", "model", "net")
_NARROW = ("BF16", "F8_E4M3", "F8_E5M2", "F8_E8M0")

#: Gives an array, or a tensor of torch where numpy has no such numbers.
Loader = Callable[[str], Any]


@dataclass(frozen=True, eq=False)
class Tensors:
    """What one file or folder holds.

    Attributes:
        path: of it.
        shapes: of every tensor by name.
        load: a tensor by name.
        config: of a transformers folder, else empty.
    """

    path: Path
    shapes: Mapping[str, tuple[int, ...]]
    load: Loader
    config: Mapping[str, Any]

    def __contains__(self, name: object) -> bool:
        """Whether there is such a tensor."""
        return name in self.shapes

    def integers(self, name: str) -> np.ndarray:
        """A tensor of codes as int64; packed words are taken as unsigned.

        Raises:
            ProblemError: it is missing, or holds no integers.
        """
        array = self.array(name)
        if array.dtype.kind not in "iub":
            raise ProblemError(f"{self.path.name} {name} holds {array.dtype}, not integers")
        return array

    def array(self, name: str) -> np.ndarray:
        """A tensor that numpy knows.

        Raises:
            ProblemError: it is missing or cannot be read.
        """
        raw = self._raw(name)
        return raw if isinstance(raw, np.ndarray) else _numpy(raw)

    def stored(self, name: str) -> Stored:
        """Real numbers, widened, with the precision they are stored in.

        Raises:
            ProblemError: missing, unreadable, no real numbers, or NaN or infinity among them.
        """
        raw = self._raw(name)
        if isinstance(raw, np.ndarray) and raw.dtype.kind != "f":
            raise ProblemError(f"{self.path.name} {name} holds {raw.dtype}, not real numbers")
        found = as_stored(f"{self.path.name} {name}", raw)
        if not np.isfinite(found.values).all():
            raise ProblemError(f"{self.path.name} {name} has NaN or infinite entries")
        return found

    def reals(self, name: str) -> np.ndarray:
        """The same as float64."""
        return np.asarray(self.stored(name).values, np.float64)

    def _raw(self, name: str) -> Any:
        if name not in self.shapes:
            raise ProblemError(f"{self.path} lacks the tensor {name}")
        try:
            return self.load(name)
        except (OSError, ValueError, TypeError, RuntimeError) as error:
            raise unreadable(self.path, error) from error


def open_tensors(path: str | Path) -> Tensors:
    """Open a file, a folder of shards with their index, or a folder of such files.

    Raises:
        ProblemError: missing, damaged, of another kind, or one that would have to be unpickled.
    """
    path = Path(path)
    if path.is_dir():
        return _folder(path)
    if path.name.endswith(".index.json"):
        return _sharded(path, {})
    if path.suffix not in SUFFIXES:
        raise ProblemError(
            f"{path} is no file of weights that can be read; give {', '.join(SUFFIXES)}"
        )
    if not path.is_file():
        raise ProblemError(f"there is no file {path}; give the compressed weights")
    shapes, load = open_file(path)
    return Tensors(path, shapes, load, {})


def open_file(path: Path) -> tuple[Mapping[str, tuple[int, ...]], Loader]:
    """Names and shapes of the arrays in a file, and how to load one."""
    try:
        if path.suffix == ".safetensors":
            return _open_safetensors(path)
        if path.suffix in TORCH:
            return _open_torch(path)
        with path.open("rb") as file:
            opened = np.load(file, allow_pickle=False)
            one = isinstance(opened, np.ndarray)
            arrays = {"": opened} if one else {name: opened[name] for name in opened.files}
        return {name: array.shape for name, array in arrays.items()}, arrays.__getitem__
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, KeyError) as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: Exception) -> ProblemError:
    """What to say of a damaged file."""
    return ProblemError(f"{path} cannot be read as {path.suffix[1:]} without pickle: {error}")


def _open_safetensors(path: Path) -> tuple[Mapping[str, tuple[int, ...]], Loader]:
    from safetensors import SafetensorError, safe_open

    def load(name: str) -> Any:
        with safe_open(str(path), framework="numpy") as file:
            narrow = file.get_slice(name).get_dtype() in _NARROW
            if not narrow:
                return file.get_tensor(name)
        with safe_open(str(path), framework="pt") as file:
            return file.get_tensor(name)

    try:
        with safe_open(str(path), framework="numpy") as file:
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise unreadable(path, error) from error
    return shapes, load


def _open_torch(path: Path) -> tuple[Mapping[str, tuple[int, ...]], Loader]:
    import torch

    try:
        found = torch.load(path, map_location="cpu", weights_only=True, mmap=False)
    except (pickle.UnpicklingError, RuntimeError, AttributeError, IndexError) as error:
        raise unreadable(path, error) from error
    if isinstance(found, torch.Tensor):
        found = {"": found}
    for key in WRAPPERS:
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
            break
    if not isinstance(found, Mapping):
        raise ProblemError(f"{path} holds a {type(found).__name__}, not named tensors")
    tensors = {
        str(name).removeprefix("module."): tensor.detach()
        for name, tensor in found.items()
        if isinstance(tensor, torch.Tensor)
    }
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}, tensors.__getitem__


def _folder(path: Path) -> Tensors:
    config = _config(path)
    for index in sorted(path.glob("*.index.json")):
        return _sharded(index, config)
    files = [
        file for suffix in (".safetensors", *TORCH) for file in sorted(path.glob(f"*{suffix}"))
    ]
    # One kind: a folder may hold the same weights as safetensors and as a torch file.
    files = [file for file in files if file.suffix == files[0].suffix]
    if not files:
        raise ProblemError(f"the folder {path} holds no weights: no .safetensors, .pt or .bin file")
    return _joined(path, {file: None for file in files}, config)


def _sharded(index: Path, config: Mapping[str, Any]) -> Tensors:
    if not index.is_file():
        raise ProblemError(f"there is no file {index}")
    try:
        where = json.loads(index.read_text("utf-8"))["weight_map"]
        files: dict[Path, list[str] | None] = {}
        for name, file in where.items():
            # Beside the index, whatever its text says.
            files.setdefault(index.parent / Path(file).name, []).append(name)  # type: ignore[union-attr]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ProblemError(f"{index} is no index of shards: {error!r}") from error
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise ProblemError(f"{index} names shards that are not there: {', '.join(missing)}")
    return _joined(index.parent, files, config or _config(index.parent))


def _joined(
    path: Path, files: Mapping[Path, list[str] | None], config: Mapping[str, Any]
) -> Tensors:
    shapes: dict[str, tuple[int, ...]] = {}
    homes: dict[str, Loader] = {}
    for file, names in files.items():
        found, load = open_file(file)
        for name in found if names is None else names:
            if name not in found:
                raise ProblemError(f"{file} lacks the tensor {name} that its index names")
            shapes[name], homes[name] = found[name], load
    return Tensors(path, shapes, lambda name: homes[name](name), config)


def _config(folder: Path) -> Mapping[str, Any]:
    """The folder's configuration, with that of older quantizers inside."""
    found: dict[str, Any] = {}
    for name in ("config.json", "quantize_config.json", "quant_config.json"):
        try:
            read = json.loads((folder / name).read_text("utf-8"))
        except (OSError, ValueError):
            continue
        if not isinstance(read, dict):
            continue
        if name == "config.json":
            found |= read
        else:
            found.setdefault("quantization_config", read)
    return found


def _numpy(tensor: Any) -> np.ndarray:
    kind = str(tensor.dtype)
    if "bfloat16" in kind or "float8" in kind:
        import torch

        tensor = tensor.to(torch.float32)
    return np.asarray(tensor.detach().cpu())
