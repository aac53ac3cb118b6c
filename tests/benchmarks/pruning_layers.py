"""Every 36-wide pruning problem of a folder of dumps, solved exactly, on one core.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.pruning_layers DUMP_FOLDER

Both roundings of n b/16 to a number of kept weights. Per layer and bit width: problems, how many
are proven, milliseconds a channel in a batch (median and worst over chunks), the largest number of
nodes and that channel timed alone, the worst gap left, and each heuristic's loss against the
attained error in dB (mean, and the share of problems within 0.1 dB of it).
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from bounds import pruning_range
from layers.dump.file import read_dump
from tests.benchmarks.rows import Row, show, write_csv

HEURISTICS = ("magnitude", "magnitude-ls", "obs", "forward", "swap")


def budgets(features: int, bits: int) -> list[int]:
    """``n b/16`` rounded down and to the nearest; one number where they agree."""
    return sorted({features * bits // 16, int(features * bits / 16 + 0.5)})


def decibels(upper: np.ndarray, lower: np.ndarray) -> np.ndarray:
    """``10 log10(upper / lower)``, zero where both are."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.nan_to_num(10 * np.log10(upper / lower), posinf=np.inf)


def measure(
    path: Path, bits: int, size: int | None, channels: int | None, seconds: float | None
) -> Row:
    """One row: a layer at one bit width."""
    batch, nodes, slowest, total, exact, gap = [], 0, 0.0, 0, 0, 0.0
    loss: dict[str, list[np.ndarray]] = {name: [] for name in HEURISTICS}
    dump = read_dump(path)
    for chunk in dump.chunks(size):
        weights = chunk.weights.astype(np.float16).astype(np.float64)
        if channels is not None:
            weights = weights[np.linspace(0, len(weights) - 1, channels).astype(int)]
        for keep in budgets(weights.shape[1], bits):
            begin = time.perf_counter()
            found = pruning_range(chunk.gram, weights, keep=keep, time_limit=seconds)
            batch.append((time.perf_counter() - begin) / len(weights))
            total += len(weights)
            exact += found.count("exact")
            gap = max(gap, float(decibels(found.upper, found.lower).max()))
            hardest = int(found.nodes.argmax())
            if found.nodes[hardest] >= nodes:
                nodes = int(found.nodes[hardest])
                begin = time.perf_counter()
                pruning_range(chunk.gram, weights[hardest], keep=keep, time_limit=seconds)
                slowest = max(slowest, time.perf_counter() - begin)
            for name in HEURISTICS:
                upper = pruning_range(
                    chunk.gram, weights, keep=keep, method=name, time_limit=None
                ).upper
                loss[name].append(decibels(upper, found.upper))
    row: Row = {
        "layer": dump.layer,
        "bits": bits,
        "problems": total,
        "exact": exact,
        "median ms": 1e3 * float(np.median(batch)),
        "worst chunk ms": 1e3 * max(batch),
        "hardest nodes": nodes,
        "hardest alone ms": 1e3 * slowest,
        "worst gap dB": gap,
    }
    for name, parts in loss.items():
        together = np.concatenate(parts)
        row[f"{name} dB"] = float(together.mean())
        row[f"{name} <0.1"] = float((together < 0.1).mean())
    return row


def main() -> None:
    """Solve everything and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--bits", type=int, nargs="+", default=[2, 3, 4, 5, 6, 7, 8])
    parser.add_argument("--chunk", type=int, default=36, help="0: whole layers")
    parser.add_argument("--channels", type=int, help="evenly spaced; all by default")
    parser.add_argument("--seconds", type=float, help="limit a channel; none by default")
    parser.add_argument("--only", default="", help="part of the file name")
    parser.add_argument("--csv", type=Path, default=Path("benchmark-pruning-layers.csv"))
    options = parser.parse_args()
    pruning_range(
        np.eye(4) + 0.1, np.arange(1.0, 5.0), keep=2, time_limit=None
    )  # compiled before it is timed
    rows = [
        measure(path, bits, options.chunk or None, options.channels, options.seconds)
        for path in sorted(options.folder.glob("*.safetensors"))
        if options.only in path.name
        for bits in options.bits
    ]
    write_csv(options.csv, rows)
    print(show(rows))
    exact, problems = (sum(int(str(row[n])) for row in rows) for n in ("exact", "problems"))
    print(f"{exact} of {problems} problems proven exact; written to {options.csv}")


if __name__ == "__main__":
    main()
