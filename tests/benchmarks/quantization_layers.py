"""Every 36-wide quantization problem of a folder of dumps, solved exactly, on one core.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.quantization_layers DUMP_FOLDER

Per layer and bit width: problems, how many are proven, milliseconds a channel in a batch (median
and worst over chunks), the slowest single channel timed alone, and each heuristic's loss in dB
(mean, and the share of problems within 0.1 dB of the optimum).
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from bounds.quantization import choose_scale, quantization_range
from layers.dump import read_dump
from tests.benchmarks.rows import Row, show, write_csv

HEURISTICS = ("rtn", "gptq", "descent", "beam")


def measure(path: Path, bits: int, size: int | None, channels: int | None) -> Row:
    """One row: a layer at one bit width."""
    batch, nodes, slowest, total, exact = [], 0, 0.0, 0, 0
    loss: dict[str, list[np.ndarray]] = {name: [] for name in HEURISTICS}
    dump = read_dump(path)
    for chunk in dump.chunks(size):
        weights = chunk.weights.astype(np.float16).astype(np.float64)
        scale = choose_scale(weights, bits)
        if channels is not None:
            weights = weights[np.linspace(0, len(weights) - 1, channels).astype(int)]
        begin = time.perf_counter()
        found = quantization_range(chunk.gram, weights, bits=bits, scale=scale)
        batch.append((time.perf_counter() - begin) / len(weights))
        total += len(weights)
        exact += found.count("exact")
        hardest = int(found.nodes.argmax())
        if found.nodes[hardest] >= nodes:
            nodes = int(found.nodes[hardest])
            begin = time.perf_counter()
            quantization_range(chunk.gram, weights[hardest], bits=bits, scale=scale)
            slowest = max(slowest, time.perf_counter() - begin)
        for name in HEURISTICS:
            upper = quantization_range(
                chunk.gram, weights, bits=bits, scale=scale, method=name
            ).upper
            with np.errstate(divide="ignore", invalid="ignore"):
                loss[name].append(np.nan_to_num(10 * np.log10(upper / found.upper)))
    row: Row = {
        "layer": dump.layer,
        "bits": bits,
        "problems": total,
        "exact": exact,
        "median ms": 1e3 * float(np.median(batch)),
        "worst chunk ms": 1e3 * max(batch),
        "hardest nodes": nodes,
        "hardest alone ms": 1e3 * slowest,
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
    parser.add_argument("--only", default="", help="part of the file name")
    parser.add_argument("--csv", type=Path, default=Path("benchmark-quantization-layers.csv"))
    options = parser.parse_args()
    rows = [
        measure(path, bits, options.chunk or None, options.channels)
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
