"""Where a training run has got to, on disk: whole or absent, and no code in it is ever run."""

from __future__ import annotations

import io
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from layers.dump.whole_file import write_whole
from layers.errors import FinetuneError

FORMAT = 1
NAME = "checkpoint.pt"
#: What a recipe says, in words, where two of them differ.
PARTS = {
    "network": "of another model, or of other weights of it",
    "data": "of a run on other examples",
    "settings": "of a run with other settings",
}


def write_checkpoint(folder: Path, recipe: Mapping[str, str], state: Mapping[str, Any]) -> Path:
    """Put a state in the place of the last one.

    Args:
        folder: of the run; created.
        recipe: what decides the run's numbers, under the keys of ``PARTS``.
        state: tensors, numbers and text, in dicts and lists.

    Raises:
        FinetuneError: it cannot be written.
    """
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, "recipe": dict(recipe), **state}, buffer)
    path = folder / NAME
    try:
        write_whole(path, buffer.getvalue())
    except OSError as error:
        raise FinetuneError(f"{path} cannot be written: {error.strerror or error}") from error
    return path


def read_checkpoint(folder: Path, recipe: Mapping[str, str]) -> dict[str, Any] | None:
    """The state of a run that was stopped, or None where there is none.

    Raises:
        FinetuneError: damaged, of another version, or of another run; the message says which.
    """
    path = folder / NAME
    if not path.is_file():
        return None
    mend = f"remove {path}, or train into another folder"
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many types for damaged files; all mean the same
        raise FinetuneError(f"{path} cannot be read: {error}; {mend}") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise FinetuneError(f"{path} is no checkpoint of this version; {mend}")
    for part, words in PARTS.items():
        if state.get("recipe", {}).get(part) != recipe[part]:
            raise FinetuneError(f"{path} is a checkpoint {words}; {mend}")
    return state


def drop_checkpoint(folder: Path) -> None:
    """Remove it: the run has ended, or starts anew."""
    with suppress(FileNotFoundError):
        (folder / NAME).unlink()
