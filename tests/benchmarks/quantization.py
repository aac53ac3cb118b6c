"""Quantization against general solvers, on real layers, in one run, one thread each.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.quantization DUMP_FOLDER [--seconds 30]

Prints medians and ratios over a fixed sample of 36-wide problems and writes a CSV beside it.
Gurobi takes part where its pip package is installed.
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

from bounds.problem import check_problem
from bounds.quantization import choose_scale, quantization_range
from bounds.quantization.codes import CodeProblem, make_codes
from bounds.quantization.grid import check_scale, integer_range
from bounds.quantization.model import solve_relaxation
from layers.dump import read_dump
from tests.benchmarks.rows import Row, write_csv
from tests.bounds.quantization.reference import gurobi, scip

Result = TypeVar("Result")

BITS = (2, 4, 8)
REPEATS = 5


def sample(folder: Path) -> Iterator[tuple[str, int, np.ndarray, np.ndarray, float]]:
    """Layer, bits, Gram, weights and scale: all channels of the first chunk of every dump."""
    for path in sorted(folder.glob("*.safetensors")):
        chunk = read_dump(path).chunks(36)[0]
        weights = chunk.weights.astype(np.float16).astype(np.float64)
        for bits in BITS:
            scale = choose_scale(weights, bits)
            yield chunk.layer, bits, chunk.gram, weights, float(scale)


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


def conic(codes: CodeProblem, c: int, solver: str) -> float:
    """Value reported by the cvxpy model, in energy units."""
    floors = np.clip(np.floor(codes.start[c]), codes.lo, codes.hi - 1)
    zeros = np.zeros(codes.features)
    answer = solve_relaxation(
        codes.gram, codes.targets[c] - floors, zeros, codes.lo - floors, codes.hi - floors,
        solver=solver,
    )  # fmt: skip
    return float(answer.value * codes.scale[c] ** 2 * codes.unit)


def measure(folder: Path, seconds: float, channels: int) -> list[Row]:
    """One row per problem: seconds, gaps to the optimum in dB, nodes."""
    rows = []
    others = {"scip": scip}
    if importlib.util.find_spec("gurobipy") is not None:
        others["gurobi"] = gurobi
    for layer, bits, gram, weights, scale in sample(folder):
        lo, hi = integer_range(bits)
        codes = make_codes(check_problem(gram, weights), check_scale(scale, len(weights)), lo, hi)
        solve = partial(quantization_range, gram, bits=bits, scale=scale)
        batch, _ = timed(partial(solve, weights), REPEATS)
        for c in np.linspace(0, len(weights) - 1, channels).astype(int):
            row: Row = {"layer": layer, "bits": bits, "channel": c}
            row["exact"], exact = timed(partial(solve, weights[c]), REPEATS)
            row["sdp"], sdp = timed(partial(solve, weights[c], method="sdp"), REPEATS)
            row["exact in a batch"] = batch / len(weights)
            row |= {"status": exact.status[0], "nodes": int(exact.nodes[0])}
            row["sdp gap dB"] = gap_db(exact.upper[0], sdp.lower[0])
            for solver in ("SCS", "CLARABEL"):
                row[solver.lower()], value = timed(partial(conic, codes, c, solver))
                row[f"{solver.lower()} value dB"] = gap_db(exact.upper[0], value)
            for name, miqp in others.items():
                row[name], answer = timed(
                    partial(miqp, codes.gram, codes.targets[c], lo, hi, seconds)
                )
                row |= {f"{name} finished": answer.finished, f"{name} nodes": answer.nodes}
            rows.append(row)
    return rows


def median(rows: list[Row], name: str) -> float:
    """Median of one column."""
    return statistics.median(float(str(row[name])) for row in rows)


def main() -> None:
    """Run the sample and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=30.0, help="limit of SCIP and Gurobi")
    parser.add_argument("--channels", type=int, default=2)
    parser.add_argument("--csv", type=Path, default=Path("benchmark-quantization.csv"))
    options = parser.parse_args()
    warm = np.eye(4) + 0.1
    for method in ("exact", "sdp"):
        quantization_range(warm, np.ones((1, 4)), bits=2, scale=0.3, method=method)
    rows = measure(options.folder, options.seconds, options.channels)
    write_csv(options.csv, rows)
    print(f"{len(rows)} problems of {options.folder}, one thread; seconds are medians a channel")
    for bits in BITS:
        part = [row for row in rows if row["bits"] == bits]
        exact, sdp = median(part, "exact in a batch"), median(part, "sdp")
        print(f"bits {bits}: exact {exact * 1e3:.3f} ms in a batch, sdp {sdp * 1e3:.2f} ms alone")
        for name in ("scs", "clarabel", "scip", "gurobi"):
            if name not in part[0]:
                continue
            base, label = (sdp, "sdp") if name in ("scs", "clarabel") else (exact, "exact")
            middle = median(part, name)
            line = f"   {name:9s}{middle:9.4f} s {middle / base:9.0f} x {label}"
            if f"{name} finished" in part[0]:
                closed = sum(bool(row[f"{name} finished"]) for row in part)
                line += f", closed {closed} of {len(part)} in {options.seconds:g} s"
            else:
                apart = [float(str(row[f"{name} value dB"])) for row in part]
                ours = [float(str(row["sdp gap dB"])) for row in part]
                worst = max(a - b for a, b in zip(ours, apart, strict=True))
                line += f", its value above our bound by {worst:.4f} dB at most"
            print(line)
    print(f"written to {options.csv}")


if __name__ == "__main__":
    main()
