"""A folder that transformers wrote, with its tokenizer, and a text file to calibrate with."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from layers.errors import SourceError
from layers.images.preprocessing import Preprocessing
from layers.networks.batches import Batches, make_batches
from layers.networks.torch_module import TorchSource

#: Tokens in one batch, unless the network takes fewer.
LENGTH = 512


def open_huggingface(rest: str) -> TorchSource:
    """A transformers model from disk; nothing is downloaded, and no code in the folder is run.

    Args:
        rest: ``FOLDER``, whose layers can be listed, or ``FOLDER@TEXT`` with a text file, whose
            tokens, in sequences of 512 or what the model takes at most, are its batches.

    Raises:
        SourceError: transformers is not installed, or folder, tokenizer or text cannot be read.
    """
    name = f"hf:{rest}"
    place, at, text = rest.partition("@")
    folder = Path(place)
    if not (folder / "config.json").is_file():
        raise SourceError(f"{name}: {folder} is no folder of a transformers model (no config.json)")
    model = _model(name, folder)
    batches = _batches(name, folder, Path(text), model) if at else None
    return TorchSource(name, Preprocessing(), "that of the model's files", model, batches=batches)


def _library(name: str) -> Any:
    try:
        return importlib.import_module("transformers")
    except ImportError as error:
        raise SourceError(
            f"{name} needs the package transformers: pip install layerbounds[hf] ({error})"
        ) from error


def _model(name: str, folder: Path) -> nn.Module:
    transformers = _library(name)
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
        kinds = config.get("architectures") or ["AutoModel"]
        kind = getattr(transformers, kinds[0], transformers.AutoModel)
        return kind.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False, use_safetensors=True
        ).eval()
    except Exception as error:  # transformers raises many types for folders it cannot read
        raise SourceError(f"{name} cannot be opened: {_short(error)}") from error


def _batches(name: str, folder: Path, text: Path, model: nn.Module) -> Batches:
    transformers = _library(name)
    try:
        content = text.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"{name}: the text {text} cannot be read: {error}") from error
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False
        )
        ids = tokenizer(content, add_special_tokens=False, verbose=False)["input_ids"]
    except Exception as error:
        raise SourceError(f"{name}: the folder's tokenizer fails: {_short(error)}") from error
    most = getattr(model.config, "max_position_embeddings", None) or LENGTH
    length = min(LENGTH, int(most))
    # The last sequence may be shorter; a token alone is no context.
    starts = [start for start in range(0, len(ids), length) if len(ids) - start > 1]
    if not starts:
        raise SourceError(f"{name}: the text {text} has fewer than two tokens")
    parts = [torch.tensor([ids[start : start + length]]) for start in starts]
    return make_batches(
        [{"input_ids": part, "attention_mask": torch.ones_like(part)} for part in parts],
        origin=f"tokens of {text.name}, {length} at a time",
    )


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
