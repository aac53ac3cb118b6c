"""Every 36-wide quantization problem of a folder of dumps, solved exactly, on one core.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.quantization_layers DUMP_FOLDER

Per layer and bit width: problems, how many are proven and the largest gap of the others, time of a
channel in a batch (median and worst over chunks), and of the one with most nodes, alone. Then each
heuristic's loss against the optimum in dB, per bit width over all layers: median, 90% and worst
problem, and the share of problems within 0.1 dB.
"""

from __future__ import annotations

import argparse
import time
from functools import partial
from pathlib import Path

import numpy as np

from bounds.problem.grid import choose_scale
from bounds.quantization.solve import quantization_range
from layers.dump.file import read_dump
from tests.benchmarks.rows import Row, show, write_csv

HEURISTICS = ("rtn", "gptq", "descent", "beam")


Losses = dict[str, list[np.ndarray]]


def measure(path: Path, bits: int, options: argparse.Namespace) -> tuple[Row, Losses]:
    """One row, a layer at one bit width, and every problem's loss by heuristic, in dB."""
    batch, nodes, slowest, total, exact, gap = [], 0, 0.0, 0, 0, 0.0
    loss: Losses = {name: [] for name in options.heuristics}
    dump = read_dump(path)
    for chunk in dump.chunks(options.chunk or None):
        weights = chunk.weights.astype(np.float16).astype(np.float64)
        solve = partial(
            quantization_range, chunk.gram, bits=bits, scale=choose_scale(weights, bits)
        )
        if options.channels is not None:
            weights = weights[np.linspace(0, len(weights) - 1, options.channels).astype(int)]
        begin = time.perf_counter()
        found = solve(weights, time_limit=options.seconds)
        batch.append((time.perf_counter() - begin) / len(weights))
        total += len(weights)
        exact += found.count("exact")
        with np.errstate(divide="ignore", invalid="ignore"):
            apart = 10 * np.log10(found.upper / found.lower)
        gap = max(gap, float(apart[found.status != "exact"].max(initial=0.0)))
        hardest = int(found.nodes.argmax())
        if found.nodes[hardest] >= nodes:
            nodes = int(found.nodes[hardest])
            begin = time.perf_counter()
            solve(weights[hardest], time_limit=options.seconds)
            slowest = max(slowest, time.perf_counter() - begin)
        for name in options.heuristics:
            upper = solve(weights, method=name).upper
            with np.errstate(divide="ignore", invalid="ignore"):
                loss[name].append(np.nan_to_num(10 * np.log10(upper / found.upper)))
    row: Row = {
        "layer": dump.layer,
        "bits": bits,
        "problems": total,
        "exact": exact,
        "largest gap dB": gap,
        "median ms": 1e3 * float(np.median(batch)),
        "worst chunk ms": 1e3 * max(batch),
        "hardest nodes": nodes,
        "hardest alone ms": 1e3 * slowest,
    }
    return row, loss


def losses_of(bits: int, losses: list[Losses]) -> list[Row]:
    """The losses of all layers at one bit width, a row for each heuristic."""
    rows: list[Row] = []
    for name in losses[0]:
        together = np.concatenate([part for layer in losses for part in layer[name]])
        row: Row = {"bits": bits, "method": name, "problems": len(together)}
        row |= {"median dB": float(np.median(together))}
        row |= {"90% dB": float(np.quantile(together, 0.9)), "worst dB": float(together.max())}
        rows.append(row | {"within 0.1 dB": float((together < 0.1).mean())})
    return rows


def main() -> None:
    """Solve everything and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--bits", type=int, nargs="+", default=[2, 3, 4, 5, 6, 7, 8])
    parser.add_argument("--chunk", type=int, default=36, help="0: whole layers")
    parser.add_argument("--channels", type=int, help="evenly spaced; all by default")
    parser.add_argument("--only", default="", help="part of the file name")
    parser.add_argument("--without", default="features.17", help="files left out, unless --only")
    parser.add_argument("--seconds", type=float, help="limit of a channel; none by default")
    parser.add_argument("--heuristics", nargs="*", default=HEURISTICS)
    parser.add_argument("--csv", type=Path, default=Path("benchmark-quantization-layers.csv"))
    options = parser.parse_args()
    warm = np.eye(4) + 0.1
    for method in ("exact", *options.heuristics):
        quantization_range(warm, np.ones((1, 4)), bits=2, scale=0.3, method=method, time_limit=None)
    rows: list[Row] = []
    losses: list[Row] = []
    for bits in options.bits:
        measured = [
            measure(path, bits, options)
            for path in sorted(options.folder.glob("*.safetensors"))
            if options.only in path.name and (options.only or options.without not in path.name)
        ]
        rows += [row for row, _ in measured]
        losses += losses_of(bits, [loss for _, loss in measured])
    write_csv(options.csv, rows + losses)
    print(show(rows))
    if losses:
        print(show(losses))
    exact, problems = (sum(int(str(row[n])) for row in rows) for n in ("exact", "problems"))
    print(f"{exact} of {problems} problems proven exact; written to {options.csv}")


if __name__ == "__main__":
    main()
