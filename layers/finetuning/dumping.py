"""Dumps of a network's layers from labelled examples, which need not be images in files."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from layers.capture.collector import Collector
from layers.capture.run import one_thread
from layers.capture.to_dump import to_dump
from layers.dump.file import VERSION, dump_path, write_dump
from layers.errors import FinetuneError
from layers.finetuning.examples import Examples, Part
from layers.networks.torch_module import TorchSource


class Example(NamedTuple):
    """An example as a dump records it."""

    name: str
    sha256: str


class Seen(NamedTuple):
    """Which examples made the calibration Gram matrix, and which the held-out one."""

    images: list[Example]
    heldout: list[Example]


def dump_examples(
    source: TorchSource,
    names: Sequence[str],
    examples: Examples,
    folder: Path,
    count: int,
    heldout: int,
) -> dict[str, Path]:
    """Write a dump of each layer, with its whole Gram matrix; the files by layer.

    Args:
        source: the network, on the CPU; dumps are filed under its name.
        names: full names of layers.
        examples: ``count`` of the training part make the Gram matrix, spread evenly, ``heldout`` of
            the test part the held-out one.
        folder: of the dumps.
        count, heldout: how many; no more than there are.

    Raises:
        CaptureError: as capturing does.  DumpError: a file cannot be written.
    """
    chosen = {
        "calibration": _evenly(examples.train, count),
        "heldout": _evenly(examples.test, heldout),
    }
    parts: dict[str, Part] = {"calibration": examples.train, "heldout": examples.test}
    collector = Collector(list(names), "full")
    seen = Seen([], [])
    records = {"calibration": seen.images, "heldout": seen.heldout}
    with one_thread(), source.runner(list(names), collector) as run:
        for part in ("calibration", "heldout"):
            for index in chosen[part]:
                x = np.ascontiguousarray(parts[part].inputs([index])[0].numpy())
                name = f"{part} {index}"
                collector.begin(part, name)
                run(x)
                records[part].append(Example(name, hashlib.sha256(x.tobytes()).hexdigest()))
    recipe = {
        "format": str(VERSION),
        "network": source.fingerprint(),
        "examples": examples.digest(),
        "licence": source.licence,
    }
    paths = {}
    for layer in collector.results():
        paths[layer.name] = dump_path(folder, source.name, layer.name)
        write_dump(paths[layer.name], to_dump(source.name, layer, seen, recipe))
    return paths


def _evenly(part: Part, count: int) -> list[int]:
    total = len(part.labels)
    if count < 1:
        raise FinetuneError(f"{count} examples for a Gram matrix are too few; give 1 or more")
    count = min(count, total)
    return [int((i + 0.5) * total / count) for i in range(count)]
