"""Pruning against general solvers, on real layers, in one run, one thread each.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.pruning DUMP_FOLDER [--seconds 10]

Prints medians and ratios over a fixed sample of 36-wide problems and writes a CSV beside it.
Gurobi and OKRidge take part where their packages are installed. L0BnB cannot: it fixes the price of
a nonzero, not their number.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from bounds import pruning_range
from layers.dump.file import read_dump
from tests.benchmarks.rows import Row, write_csv
from tests.references.pruning import Answer, gurobi, okridge, relaxation

Result = TypeVar("Result")

BITS = (2, 4, 8)
REPEATS = 5


def sample(folder: Path) -> Iterator[tuple[str, int, int, np.ndarray, np.ndarray]]:
    """Layer, bits, k, Gram and weights: all channels of the first chunk of every dump."""
    for path in sorted(folder.glob("*.safetensors")):
        chunk = read_dump(path).chunks(36)[0]
        weights = chunk.weights.astype(np.float16).astype(np.float64)
        for bits in BITS:
            yield chunk.layer, bits, weights.shape[1] * bits // 16, chunk.gram, weights


def timed(call: Callable[[], Result], repeats: int = 1) -> tuple[float, Result]:
    """Best seconds of ``repeats`` calls, and the last result."""
    seconds, result = [], None
    for _ in range(repeats):
        begin = time.perf_counter()
        result = call()
        seconds.append(time.perf_counter() - begin)
    assert result is not None
    return min(seconds), result


def gap_db(upper: float, lower: float) -> float:
    """How far a lower value is below an attained one, in dB."""
    return 10 * float(np.log10(upper / lower)) if lower > 0 else float("inf")


def ask_scip(gram: np.ndarray, w: np.ndarray, keep: int, seconds: float) -> Answer:
    """Our method ``scip``; finished means that it closed its own gap."""
    found = pruning_range(gram, w, keep=keep, method="scip", time_limit=seconds)
    gap = gap_db(found.upper[0], found.lower[0])
    return Answer(float(found.upper[0]), float(found.lower[0]), int(found.nodes[0]), gap < 0.01)


def measure(folder: Path, seconds: float, channels: int) -> list[Row]:
    """One row per problem: seconds, gaps to the optimum in dB, nodes."""
    rows = []
    for layer, bits, keep, gram, weights in sample(folder):
        solve = partial(pruning_range, gram, keep=keep)
        batch, _ = timed(partial(solve, weights))
        for c in np.linspace(0, len(weights) - 1, channels + 2).astype(int)[1:-1]:
            w = weights[c]
            row: Row = {"layer": layer, "bits": bits, "channel": c}
            row["exact"], exact = timed(partial(solve, w), REPEATS)
            row["perspective"], loose = timed(partial(solve, w, method="perspective"), REPEATS)
            best = float(exact.upper[0])
            row["exact in a batch"] = batch / len(weights)
            row |= {"status": exact.status[0], "nodes": int(exact.nodes[0])}
            row["perspective gap dB"] = gap_db(best, loose.lower[0])
            row["clarabel"], value = timed(partial(relaxation, gram, w, keep))
            row["clarabel gap dB"] = gap_db(best, value)
            others = {"scip": partial(ask_scip, gram, w, keep, seconds)}
            if importlib.util.find_spec("gurobipy") is not None:
                others["gurobi"] = partial(gurobi, gram, w, keep, best, seconds)
            if importlib.util.find_spec("okridge") is not None:
                others["okridge"] = partial(okridge, gram, w, keep, seconds)
            for name, other in others.items():
                row[name], answer = timed(other)
                row |= {f"{name} finished": answer.finished, f"{name} nodes": answer.nodes}
                row[f"{name} gap dB"] = gap_db(best, answer.bound)
            rows.append(row)
    return rows


def column(rows: list[Row], name: str) -> list[float]:
    """One column as numbers."""
    return [float(str(row[name])) for row in rows]


def main() -> None:
    """Run the sample and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=10.0, help="limit of the other solvers")
    parser.add_argument("--channels", type=int, default=1)
    parser.add_argument("--csv", type=Path, default=Path("benchmark-pruning.csv"))
    options = parser.parse_args()
    warm = np.eye(4) + 0.1
    for method in ("exact", "perspective"):
        pruning_range(warm, np.arange(1.0, 5.0), keep=2, method=method, time_limit=None)
    rows = measure(options.folder, options.seconds, options.channels)
    write_csv(options.csv, rows)
    print(f"{len(rows)} problems of {options.folder}, one thread; seconds are medians a channel")
    for bits in BITS:
        part = [row for row in rows if row["bits"] == bits]
        exact, alone, loose, nodes = (
            statistics.median(column(part, name))
            for name in ("exact in a batch", "exact", "perspective", "nodes")
        )
        print(
            f"bits {bits}: exact {exact * 1e3:.2f} ms in a batch, {alone * 1e3:.2f} alone, "
            f"{nodes:.0f} nodes; perspective {loose * 1e3:.2f} ms"
        )
        slack = zip(
            column(part, "perspective gap dB"), column(part, "clarabel gap dB"), strict=True
        )
        print(
            f"   clarabel {statistics.median(column(part, 'clarabel')):8.3f} s "
            f"{statistics.median(column(part, 'clarabel')) / loose:7.0f} x perspective, "
            f"its value above our bound by {max(a - b for a, b in slack):.4f} dB at most"
        )
        for name in ("scip", "gurobi", "okridge"):
            if name not in part[0]:
                continue
            middle = statistics.median(column(part, name))
            closed = sum(bool(row[f"{name} finished"]) for row in part)
            print(
                f"   {name:8s} {middle:8.3f} s {middle / exact:7.0f} x exact in a batch, "
                f"{middle / alone:7.0f} x alone, closed {closed} of {len(part)} in "
                f"{options.seconds:g} s, {statistics.median(column(part, f'{name} nodes')):.0f} "
                f"nodes, gap {statistics.median(column(part, f'{name} gap dB')):.2f} dB"
            )
    print(f"written to {options.csv}")


if __name__ == "__main__":
    main()
