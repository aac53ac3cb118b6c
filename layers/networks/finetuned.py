"""Networks that were trained here: a folder with their weights, and what is known about them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from layers.dump.whole_file import write_whole
from layers.errors import FinetuneError, SourceError
from layers.networks.checkpoint import load_into, load_state
from layers.networks.source import Source
from layers.networks.torch_module import TorchSource

FORMAT = 1
WEIGHTS, RECORD = "weights.safetensors", "run.json"


@dataclass(frozen=True)
class Trained:
    """A finished run.

    Attributes:
        source: the network that was trained, as ``open_source`` knows it.
        recipe: what decided the numbers.
        loss, accuracy: on the test examples.
        history: mean training loss and accuracy, [loss, accuracy] an epoch.
        steps: quantization steps by layer, one or one a channel; empty where there are none.
        kept: nonzero weights by layer.
        seconds: of training.
        sha256: of the file of weights.
        folder: where it was read from.
    """

    source: str
    recipe: Mapping[str, str]
    loss: float
    accuracy: float
    history: list[list[float]] = field(default_factory=list)
    steps: Mapping[str, list[float]] = field(default_factory=dict)
    kept: Mapping[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    sha256: str = ""
    folder: Path = Path()

    @property
    def weights_file(self) -> Path:
        """The file of weights: safetensors, by the names of the network's state."""
        return self.folder / WEIGHTS


def write_trained(folder: Path, network: nn.Module, trained: Trained) -> Trained:
    """Write weights, then the record that makes the run a finished one.

    Raises:
        FinetuneError: the folder cannot be written.
    """
    from safetensors.torch import save

    state = {
        name: value.detach().cpu().contiguous()
        for name, value in network.state_dict().items()
        if isinstance(value, Tensor)
    }
    data = save(state)
    done = replace(trained, sha256=hashlib.sha256(data).hexdigest(), folder=folder)
    record = {k: v for k, v in asdict(done).items() if k != "folder"} | {"format": FORMAT}
    try:
        write_whole(folder / WEIGHTS, data)
        write_whole(folder / RECORD, json.dumps(record, indent=1).encode() + b"\n")
    except OSError as error:
        raise FinetuneError(f"{folder} cannot be written: {error.strerror or error}") from error
    return done


def read_trained(folder: str | Path) -> Trained:
    """The record of a finished run.

    Raises:
        SourceError: no such run, an unfinished one, or one that is damaged.
    """
    path = Path(folder) / RECORD
    if not path.is_file():
        raise SourceError(
            f"there is no finished run in {folder}: {RECORD} is missing; give a folder that "
            "`layerbounds finetune` wrote, such as results/finetune/runs/qat-4-seed1"
        )
    try:
        record: dict[str, Any] = json.loads(path.read_text("utf-8"))
        if record.pop("format") != FORMAT:
            raise ValueError("another version")
        return Trained(**record, folder=Path(folder))
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise SourceError(
            f"{path} is no record of a run of this version ({error}); run it again"
        ) from error


def read_weights(trained: Trained) -> dict[str, Tensor]:
    """The weights of a run, by name.

    Raises:
        SourceError: missing, or not those that the run wrote.
    """
    path = trained.weights_file
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror or error}") from error
    if hashlib.sha256(data).hexdigest() != trained.sha256:
        raise SourceError(f"{path} was altered after its run; run it again")
    return load_state(path)


def with_weights(name: str, source: Source, trained: Trained) -> TorchSource:
    """The source of a run, from that of the network it trained.

    Args:
        name: of the new source.
        source: opened from ``trained.source``.
        trained: the run.

    Raises:
        SourceError: the source is no torch module, or has become another network.
    """
    if not isinstance(source, TorchSource):
        raise SourceError(f"{name}: {trained.source} is no torch module; it cannot be trained")
    load_into(source.module, read_weights(trained), trained.weights_file)
    return replace(source, name=name)
