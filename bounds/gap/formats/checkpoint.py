"""Any checkpoint by its path: which layers it holds, and each of them as weights and grid."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from bounds.errors import ProblemError
from bounds.gap.formats import awq, bitsandbytes, compressed, gguf_file, gptq, plain
from bounds.gap.formats.tensors import open_tensors
from bounds.gap.formats.weights import Weights

#: Tried in this order for every layer; what none of them knows is plain.
READERS: tuple[ModuleType, ...] = (compressed, gptq, awq, bitsandbytes)
_SHOWN = 6


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """The layers of a file or folder.

    Attributes:
        path: of it.
        readers: of every layer by name.
        translate: another name under which a layer of the network may be found, or None.
    """

    path: Path
    readers: Mapping[str, Callable[[str], Weights]]
    translate: Callable[[str], str | None] = lambda name: None

    @property
    def names(self) -> list[str]:
        """Every layer, in the order of the file."""
        return list(self.readers)

    def find(self, layer: str) -> str | None:
        """The name here of a layer of the network: its own, one with a prefix more or less."""
        if layer in self.readers:
            return layer
        other = self.translate(layer)
        if other is not None and other in self.readers:
            return other
        ends = [n for n in self.readers if n.endswith(f".{layer}") or layer.endswith(f".{n}")]
        return ends[0] if len(ends) == 1 else None

    def read(self, name: str) -> Weights:
        """The weights of a layer.

        Raises:
            ProblemError: there is none of this name, or it cannot be read.
        """
        if name not in self.readers:
            shown = ", ".join(self.names[:_SHOWN]) + (", ..." if len(self.names) > _SHOWN else "")
            raise ProblemError(f"{self.path} has no layer {name!r}; it has {shown or 'none'}")
        return self.readers[name](name)


def open_checkpoint(path: str | Path) -> Checkpoint:
    """Open what a quantizer or pruner has written; no code in it is run.

    Args:
        path: a GGUF file; a safetensors, numpy or torch file; an index of shards; or a folder of
            transformers. Which of compressed-tensors, GPTQ, AWQ and bitsandbytes a layer is in, its
            tensors tell.

    Raises:
        ProblemError: missing, damaged, of another kind, or without weights.
    """
    path = Path(path)
    if path.suffix == gguf_file.SUFFIX:
        return _gguf(path)
    tensors = open_tensors(path)
    readers: dict[str, Callable[[str], Weights]] = {}
    for module in READERS:
        for name in module.layers(tensors):
            readers.setdefault(name, _reader(module, tensors))
    for name in plain.layers(tensors):
        readers.setdefault(name, _reader(plain, tensors))
    if not readers:
        raise ProblemError(f"{path} holds no weights of a layer: no tensor of two dimensions")
    return Checkpoint(path, readers)


def _reader(module: ModuleType, tensors: object) -> Callable[[str], Weights]:
    return lambda name: module.read(tensors, name)


def _gguf(path: Path) -> Checkpoint:
    names, read, arch = gguf_file.open_gguf(path)
    if not names:
        raise ProblemError(f"{path} holds no tensor of two dimensions")
    blocks = 1 + max(
        (int(n.split(".")[1]) for n in names if n.startswith("blk.") and n.split(".")[1].isdigit()),
        default=0,
    )
    return Checkpoint(
        path, dict.fromkeys(names, read), lambda n: gguf_file.translate(path, arch, blocks, n)
    )
