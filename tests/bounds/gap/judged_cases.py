"""Small layers with whole Gram matrices, and checkpoints of them as a tool might have written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from bounds.problem.rule import GridRule
from layers.dump.file import LayerDump, dump_path, write_dump

NAMES = ("net.one", "net.two", "net.three", "net.four")


def draw_dump(name="a.b", channels=12, features=48, groups=1, seed=0, heldout=True) -> LayerDump:
    """Correlated inputs, so that rounding to nearest is far from the best."""
    rng = np.random.default_rng(seed)
    shape = (groups, 300, features)
    mixed = rng.normal(size=shape) @ (np.eye(features) + rng.normal(size=(features, features)) / 3)
    grams = mixed.swapaxes(1, 2) @ mixed
    grams = (grams + grams.swapaxes(1, 2)) / 2
    other = mixed + rng.normal(size=shape) / 4
    held = other.swapaxes(1, 2) @ other
    held = (held + held.swapaxes(1, 2)) / 2
    weight_shape = (channels, features) if groups == 1 else (channels, features, 1, 1)
    return LayerDump(
        source="net",
        layer=name,
        kind="linear" if groups == 1 else "conv2d",
        weights=rng.normal(size=(channels, features)).astype(np.float32),
        gram_blocks=(grams,),
        heldout_blocks=(held,) if heldout else (),
        rows=300,
        heldout_rows=300 if heldout else 0,
        weight_shape=weight_shape,
        groups=groups,
    )


def rounded(dump: LayerDump, rule: str = "int4-channel-mse") -> np.ndarray:
    """To nearest, on the grid of a rule."""
    grid = GridRule.parse(rule).grid(dump.weights)
    return grid.values(grid.codes(dump.weights.astype(float)))


def pruned(dump: LayerDump, pattern: tuple[int, int]) -> np.ndarray:
    """The largest of every few weights."""
    w = dump.weights.astype(float).reshape(dump.channels, -1, pattern[1])
    ranks = np.argsort(np.argsort(-np.abs(w), axis=2), axis=2)
    return np.where(ranks < pattern[0], w, 0).reshape(dump.channels, -1)


def network_layer(name: str) -> LayerDump:
    """A layer of a small network; the last has no held-out part."""
    return draw_dump(name, 6, 40, seed=NAMES.index(name), heldout=name != NAMES[3])


def write_dumps(folder: Path) -> Path:
    """Dumps of every layer."""
    for name in NAMES:
        dump = network_layer(name)
        write_dump(dump_path(folder, dump.source, name), dump)
    return folder


def write_checkpoint(path: Path) -> Path:
    """The first layer rounded, the second pruned, the third as it was; and one without a dump."""
    tensors = {
        "model.net.one.weight": rounded(network_layer(NAMES[0]), "int4-g16").astype(np.float32),
        "model.net.two.weight": pruned(network_layer(NAMES[1]), (2, 4)).astype(np.float32),
        "model.net.three.weight": network_layer(NAMES[2]).weights,
        "model.head.weight": np.zeros((2, 3), np.float32),
    }
    save_file(tensors, path)
    return path
