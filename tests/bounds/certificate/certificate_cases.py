"""Small dumps, certificates of them, forgeries, and what is true of them by brute force."""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from bounds import pruning_range, quantization_range
from bounds.certificate import Solved, write_certificate
from bounds.problem.grid import Grid
from layers.dump.file import LayerDump, write_dump
from tests.references.certificate_checker import check

Lines = list[dict[str, Any]]

#: Inputs up to which the second checker, in exact rationals, looks at certificates too.
SMALL = 12


def make_dump(
    seed: int = 0,
    *,
    features: int = 6,
    channels: int = 2,
    groups: int = 1,
    rows: int = 40,
    dead: tuple[int, ...] = (),
    zero: tuple[int, ...] = (),
) -> LayerDump:
    """A layer with correlated inputs; ``dead`` ones are zero, ``zero`` channels weigh nothing."""
    rng = np.random.default_rng(seed)
    mix = rng.standard_normal((features, features)) + 1.5
    x = rng.standard_normal((groups, rows, features)) @ mix
    x[:, :, list(dead)] = 0.0
    gram = np.swapaxes(x, 1, 2) @ x
    gram = np.ascontiguousarray((gram + np.swapaxes(gram, 1, 2)) / 2)
    weights = rng.standard_normal((channels * groups, features)).astype(np.float32)
    weights[list(zero)] = 0.0
    conv = groups > 1
    return LayerDump(
        source="net",
        layer="a.b",
        kind="conv2d" if conv else "linear",
        weights=weights,
        gram_blocks=(gram,),
        heldout_blocks=(gram,),
        rows=rows,
        heldout_rows=rows,
        weight_shape=(*weights.shape, 1, 1) if conv else weights.shape,
        groups=groups,
    )


def half(weights: np.ndarray) -> np.ndarray:
    """Weights rounded to FP16."""
    return weights.astype(np.float16).astype(np.float64)


def quantized(dump: LayerDump, bits: int, method: str = "exact", scale: Any = 0.4) -> list[Solved]:
    """Every chunk, all channels."""
    return [
        Solved(
            chunk,
            range(len(chunk.weights)),
            quantization_range(
                chunk.gram,
                half(chunk.weights),
                bits=bits,
                scale=scale,
                method=method,
                time_limit=None,
            ),
            bits=bits,
            scale=scale,
        )
        for chunk in dump.chunks(None)
    ]


def pruned(dump: LayerDump, keep: int, method: str = "exact") -> list[Solved]:
    """Every chunk, all channels."""
    return [
        Solved(
            chunk,
            range(len(chunk.weights)),
            pruning_range(
                chunk.gram, half(chunk.weights), keep=keep, method=method, time_limit=None
            ),
            keep=keep,
        )
        for chunk in dump.chunks(None)
    ]


def grid_of(kind: str, steps: np.ndarray, rng: np.random.Generator) -> Grid:
    """A grid of few levels, groups of two inputs."""
    if kind == "groups":
        return Grid.uniform(2, steps, 0, 2)
    if kind == "zeros":
        zeros = rng.uniform(-1, 3, steps.shape)
        return Grid.uniform(2, steps, zeros, 2, signed=False, real_zero=True)
    if kind == "unsigned":
        return Grid.uniform(2, steps[:, :1], 1, signed=False)
    return Grid.codebook([-1.1, -0.3, 0.0, 0.25, 1.5], steps, 2)


def leveled(dump: LayerDump, kind: str = "groups", method: str = "exact") -> list[Solved]:
    """Every chunk, all channels, on a grid of this kind; groups of two inputs."""
    solved = []
    for chunk in dump.chunks(None):
        channels, n = chunk.weights.shape
        rng = np.random.default_rng([channels, n])
        shape = (channels, -(-n // 2))
        steps = rng.uniform(0.2, 0.6, shape)
        grid = grid_of(kind, steps, rng)
        found = quantization_range(
            chunk.gram, half(chunk.weights), grid=grid, method=method, time_limit=None
        )
        solved.append(Solved(chunk, range(channels), found, grid=grid))
    return solved


def certificate(path: Path, dump: LayerDump, solved: list[Solved]) -> bytes:
    """The bytes of a certificate, which the second checker has accepted."""
    write_certificate(path, dump, solved)
    data = path.read_bytes()
    if dump.features <= SMALL:
        assert check(data, dump_bytes(dump)) == sum(len(one.channels) for one in solved)
    return data


@functools.cache
def dump_bytes(dump: LayerDump) -> bytes:
    """The file of a dump."""
    with tempfile.TemporaryDirectory() as folder:
        write_dump(Path(folder, "d"), dump)
        return Path(folder, "d").read_bytes()


def parsed(data: bytes) -> Lines:
    """The lines of a certificate."""
    return [json.loads(line) for line in data.splitlines()]


def forged(lines: Lines) -> bytes:
    """A file of these lines under a valid seal."""
    body = b"".join(dumped(line) for line in lines[:-1])
    return body + dumped(lines[-1] | {"sha256": hashlib.sha256(body).hexdigest()})


def sealed(lines: list[bytes], count: int) -> bytes:
    """A file of raw lines under a valid seal of ``count`` channels."""
    body = b"".join(line + b"\n" for line in lines)
    digest = hashlib.sha256(body).hexdigest()
    return body + dumped({"is": "end", "channels": count, "sha256": digest})


def dumped(line: dict[str, Any]) -> bytes:
    return json.dumps(line, sort_keys=True, separators=(",", ":")).encode() + b"\n"


def points(chunk: dict[str, Any], line: dict[str, Any], levels: np.ndarray) -> np.ndarray:
    """Weights (..., n) of levels (..., n) of a channel's line."""
    at = np.arange(levels.shape[-1]) // chunk["group_size"]
    return np.array(line["steps"])[at] * (levels - np.array(line["zeros"])[at])


def optimum(
    gram: np.ndarray, weights: np.ndarray, chunk: dict[str, Any], line: dict[str, Any]
) -> float:
    """The least error of one channel by brute force, for the task of a chunk's line."""
    if chunk["task"] == "levels":
        every = np.array(list(itertools.product(chunk["levels"], repeat=len(weights))))
        d = points(chunk, line, every) - weights
        return float(((d @ gram) * d).sum(axis=1).min())
    step = line.get("step", 1.0)
    if chunk["task"] == "quantization":
        reach = 2 ** (chunk["bits"] - 1)
        grid = itertools.product(range(-reach, reach), repeat=len(weights))
        d = step * np.array(list(grid), float) - weights
        return float(((d @ gram) * d).sum(axis=1).min())
    best = float(weights @ gram @ weights)
    for support in itertools.combinations(range(len(weights)), chunk["keep"]):
        gone = np.setdiff1d(np.arange(len(weights)), support)
        left = list(support)
        lost = weights[gone]
        pull = gram[np.ix_(left, gone)] @ lost
        inside = np.linalg.lstsq(gram[np.ix_(left, left)], pull, rcond=None)[0]
        best = min(best, float(lost @ gram[np.ix_(gone, gone)] @ lost - pull @ inside))
    return best


def untrue(dump: LayerDump, lines: Lines) -> list[str]:
    """Claims of a certificate that brute force contradicts."""
    wrong, chunk = [], {}
    gram, weights = np.zeros((0, 0)), np.zeros((0, 0))
    for line in lines[1:-1]:
        if line["is"] == "chunk":
            chunk, part = line, slice(*line["features"])
            gram = dump.gram_blocks[0][line["group"], part, part]
            weights = np.asarray(dump.weights, np.float64)[:, part]
            if line["rounding"] == "fp16":
                weights = half(weights)
            continue
        w = weights[line["channel"]]
        true = optimum(gram, w, chunk, line)
        allowed = 1e-11 * (w @ gram @ w)
        if chunk["task"] == "quantization":
            v = line["step"] * np.array(line["codes"], float)
        elif chunk["task"] == "levels":
            v = points(chunk, line, np.array(chunk["levels"])[line["codes"]])
        else:
            v = np.zeros(len(w))
            v[line["support"]] = line["values"]
        attained = (v - w) @ gram @ (v - w)
        if line["lower"] > true + allowed:
            wrong.append(f"lower {line['lower']} above {true}")
        if abs(line["upper"] - attained) > allowed:
            wrong.append(f"upper {line['upper']} is not {attained}")
        if line["status"] == "exact" and line["upper"] - true > 1e-9 * true + allowed:
            wrong.append(f"exact {line['upper']} is not {true}")
    return wrong
