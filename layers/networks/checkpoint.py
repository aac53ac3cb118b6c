"""Weights from a checkpoint file, without running anything that is in it."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from layers.errors import SourceError

# Where training scripts put the weights inside their checkpoints.
WRAPPERS = ("state_dict", "model_state_dict", "model", "net")


def load_state(path: str | Path, prefix: str = "") -> dict[str, Tensor]:
    """The named tensors of a checkpoint.

    Args:
        path: safetensors (by its ending), else a torch file, read with ``weights_only=True``.
        prefix: keep only names that start with it, and cut it off.

    Raises:
        SourceError: missing, unreadable, without tensors, or with pickled code (refused).
    """
    path = Path(path)
    if not path.is_file():
        raise SourceError(f"there is no checkpoint {path}")
    found = _read(path)
    for key in WRAPPERS:
        inner = found.get(key)
        if isinstance(inner, Mapping):
            found = inner
            break
    state = {
        str(name).removeprefix("module."): value  # left by DataParallel
        for name, value in found.items()
        if isinstance(value, Tensor)
    }
    state = {name[len(prefix) :]: t for name, t in state.items() if name.startswith(prefix)}
    if not state:
        raise SourceError(f"the checkpoint {path} holds no tensors named {prefix or ''}*")
    return state


def load_into(module: nn.Module, state: Mapping[str, Tensor], path: str | Path) -> None:
    """Load weights; every name and shape must fit.

    Args:
        module: the network.
        state: from ``load_state``.
        path: where it came from, for the message.

    Raises:
        SourceError: names or shapes that do not fit.
    """
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        text = " ".join(str(error).split())
        text = text if len(text) <= 400 else f"{text[:400]}..."
        raise SourceError(
            f"the checkpoint {path} does not fit {type(module).__name__}: {text}"
        ) from error


def _read(path: Path) -> Mapping[str, object]:
    """The top level of a checkpoint."""
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on old pickle protocols; the outcome says it all
            found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise SourceError(
            f"the checkpoint {path} holds pickled objects other than tensors (or is damaged) and "
            "was refused, because loading it could run its code; save module.state_dict() "
            "and use that file"
        ) from error
    # torch and safetensors raise many types for damaged files; all mean the same here.
    except Exception as error:
        raise SourceError(f"cannot read the checkpoint {path}: {error}") from error
    if not isinstance(found, Mapping):
        raise SourceError(f"the checkpoint {path} is no mapping of names to tensors")
    return found
