"""A whole checkpoint against its original: every layer of it that there is a dump of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bounds.errors import LayerboundsError, ProblemError
from bounds.gap.formats.checkpoint import Checkpoint, open_checkpoint
from bounds.gap.judged import JudgedLayer, worst_first
from bounds.gap.whole import CHANNELS, SECONDS, as_rows, judge_layer
from layers.dump.file import read_dump

if TYPE_CHECKING:
    from layers.dump.file import LayerDump

#: Told of channels done, and of their number.
Progress = Callable[[int, int], object]


@dataclass(frozen=True)
class JudgedCheckpoint:
    """Layers, most to gain first; what could not be judged, and why; what there is no dump of."""

    layers: list[JudgedLayer]
    failed: dict[str, str]
    without_dump: list[str]

    def above(self, decibels: float) -> list[JudgedLayer]:
        """Layers that lose more than so many dB against the best found."""
        return [one for one in self.layers if one.loss > decibels]


def judge_checkpoint(
    checkpoint: Checkpoint | str | Path,
    dumps: str | Path | Sequence[Path],
    *,
    against: Checkpoint | str | Path | None = None,
    names: str = "*",
    channels: int | None = CHANNELS,
    time_limit: float | None = SECONDS,
    progress: Progress = lambda done, total: None,
) -> JudgedCheckpoint:
    """Judge every layer of a checkpoint of which there is a dump.

    Args:
        checkpoint: what a tool has written, see ``open_checkpoint``.
        dumps: a folder of dumps of the original network, or their files.
        against: the original's own checkpoint, instead of the weights in the dumps.
        names: a pattern of layers.
        channels, time_limit: as for ``judge_layer``.
        progress: told of channels done and of all that are sampled.

    Raises:
        ProblemError: nothing to read, or no layer in both.
        DumpError: a dump that cannot be read.
    """
    opened = _opened(checkpoint)
    original = None if against is None else _opened(against)
    found = list(_matched(opened, _files(dumps), names))
    if not found:
        raise ProblemError(
            f"no dump is of a layer of {opened.path}; it has {', '.join(opened.names[:6])}, ..."
        )
    sizes = [
        dump.channels if channels is None else min(channels, dump.channels) for dump, _ in found
    ]
    judged: list[JudgedLayer] = []
    failed: dict[str, str] = {}
    done = 0
    for (dump, name), size in zip(found, sizes, strict=True):
        progress(done, sum(sizes))
        try:
            before = None
            if original is not None:
                there = original.find(dump.layer)
                if there is None:
                    raise ProblemError(f"{original.path} has no layer {dump.layer}")
                before = np.array(as_rows(dump, original.read(there)))
            judged.append(
                judge_layer(
                    dump, opened.read(name), original=before, channels=channels,
                    time_limit=time_limit,
                    progress=lambda more, done=done: progress(done + more, sum(sizes)),
                )
            )  # fmt: skip
        except LayerboundsError as error:
            failed[dump.layer] = str(error)
        done += size
    progress(done, sum(sizes))
    known = {name for _, name in found}
    rest = [name for name in opened.names if name not in known and fnmatchcase(name, names)]
    return JudgedCheckpoint(worst_first(judged), failed, rest)


def _opened(checkpoint: Checkpoint | str | Path) -> Checkpoint:
    return checkpoint if isinstance(checkpoint, Checkpoint) else open_checkpoint(checkpoint)


def _files(dumps: str | Path | Sequence[Path]) -> list[Path]:
    if not isinstance(dumps, str | Path):
        return list(dumps)
    folder = Path(dumps)
    if folder.is_file():
        return [folder]
    found = sorted(folder.glob("*.safetensors"))
    if not found:
        raise ProblemError(
            f"{folder} holds no dumps; make them with `layerbounds extract --all --blocks full`"
        )
    return found


def _matched(
    checkpoint: Checkpoint, files: Sequence[Path], names: str
) -> Iterator[tuple[LayerDump, str]]:
    for file in files:
        dump = read_dump(file)
        name = checkpoint.find(dump.layer)
        if name is not None and fnmatchcase(dump.layer, names):
            yield dump, name
