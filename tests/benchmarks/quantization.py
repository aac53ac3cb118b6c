"""Quantization against general solvers, on real layers, in one run, one thread each.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.quantization DUMP_FOLDER [--seconds 30]

Prints medians and ratios over a fixed sample of 36-wide problems and writes a CSV: seconds of one
channel alone, and what the others take over what we take, alone and in a batch of channels.
Gurobi takes part where its pip package is installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from bounds.problem.gram import check_problem
from bounds.problem.grid import Grid, choose_scale, integer_range
from bounds.quantization.codes import CodeProblem, make_codes
from bounds.quantization.relaxation.bound import solve_channel
from bounds.quantization.relaxation.conic import solve_relaxation
from bounds.quantization.solve import quantization_range
from layers.dump.file import read_dump
from tests.benchmarks.rows import Row, write_csv
from tests.references.quantization import gurobi, scip

Result = TypeVar("Result")

REPEATS = 5
#: SCS's tolerances, loosest first, and how near its value must come to Clarabel's, in dB.
ACCURACIES, CLOSE = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7), 0.01
OTHERS = {
    "scs": "cvxpy + SCS at 1e-5",
    "scs accurate": "cvxpy + SCS at 0.01 dB",
    "clarabel": "cvxpy + Clarabel",
    "scip": "SCIP",
    "gurobi": "Gurobi",
}


def sample(
    folder: Path, widths: Sequence[int]
) -> Iterator[tuple[str, int, np.ndarray, np.ndarray, float]]:
    """Layer, bits, Gram, weights and scale: all channels of the first chunk of every dump."""
    for path in sorted(folder.glob("*.safetensors")):
        chunk = read_dump(path).chunks(36)[0]
        weights = chunk.weights.astype(np.float16).astype(np.float64)
        for bits in widths:
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


def conic(codes: CodeProblem, c: int, solver: str, accuracy: float = 1e-5) -> float:
    """Value reported by the cvxpy model, in energy units."""
    floors = np.clip(np.floor(codes.start[c]), codes.lo, codes.hi - 1)
    zeros = np.zeros(codes.features)
    answer = solve_relaxation(
        codes.gram, codes.targets[c] - floors, zeros, codes.lo - floors, codes.hi - floors,
        solver=solver, accuracy=accuracy,
    )  # fmt: skip
    return float(answer.value * codes.scale[c] ** 2 * codes.unit)


def equally_accurate(codes: CodeProblem, c: int, optimum: float) -> float:
    """Seconds of SCS at the loosest tolerance whose value is within ``CLOSE`` of the optimum's."""
    for accuracy in ACCURACIES:
        seconds, value = timed(partial(conic, codes, c, "SCS", accuracy))
        if abs(gap_db(optimum, value)) <= CLOSE:
            return seconds
    return float("inf")


def measure(options: argparse.Namespace) -> list[Row]:
    """One row per problem: seconds, gaps to the optimum in dB, nodes."""
    rows = []
    others = {"scip": scip}
    if importlib.util.find_spec("gurobipy") is not None:
        others["gurobi"] = gurobi
    for layer, bits, gram, weights, scale in sample(options.folder, options.bits):
        lo, hi = integer_range(bits)
        codes = make_codes(check_problem(gram, weights), Grid.uniform(bits, scale))
        solve = partial(quantization_range, gram, bits=bits, scale=scale)
        batch, _ = timed(partial(solve, weights), REPEATS)
        batch_sdp, _ = timed(partial(solve, weights[:32], method="sdp"), REPEATS)
        for c in np.linspace(0, len(weights) - 1, options.channels).astype(int):
            row: Row = {"layer": layer, "bits": bits, "channel": c}
            row["exact"], exact = timed(partial(solve, weights[c]), REPEATS)
            row["sdp"], sdp = timed(partial(solve, weights[c], method="sdp"), REPEATS)
            row["exact in a batch"] = batch / len(weights)
            row["sdp in a batch"] = batch_sdp / len(weights[:32])
            row |= {"status": exact.status[0], "nodes": int(exact.nodes[0])}
            row["sdp gap dB"] = gap_db(exact.upper[0], sdp.lower[0])
            values = {}
            for solver in ("SCS", "CLARABEL"):
                row[solver.lower()], values[solver] = timed(partial(conic, codes, c, solver))
                row[f"{solver.lower()} value dB"] = gap_db(exact.upper[0], values[solver])
            row["scs accurate"] = equally_accurate(codes, c, values["CLARABEL"])
            same = solve_channel(codes, int(c), rounds=0).lower
            row["ours above clarabel dB"] = gap_db(same, values["CLARABEL"])
            for name, miqp in others.items():
                row[name], answer = timed(
                    partial(miqp, codes.gram, codes.targets[c], lo, hi, options.seconds)
                )
                row |= {f"{name} finished": answer.finished, f"{name} nodes": answer.nodes}
            rows.append(row)
    return rows


def column(rows: list[Row], name: str) -> np.ndarray:
    """One column as numbers."""
    return np.array([float(str(row[name])) for row in rows])


def table(rows: list[Row]) -> str:
    """Markdown: our seconds, and the median over the problems of the others' seconds over ours."""
    lines = ["| bits | ours | other | seconds | ratio | in a batch | nodes | closed |"]
    lines.append("|" + "---|" * 8)
    for bits in dict.fromkeys(row["bits"] for row in rows):
        part = [row for row in rows if row["bits"] == bits]
        for name, label in OTHERS.items():
            if name not in part[0]:
                continue
            ours = "exact" if name in ("scip", "gurobi") else "sdp"
            seconds = column(part, name)
            alone = np.median(seconds / column(part, ours))
            batch = np.median(seconds / column(part, f"{ours} in a batch"))
            cells = f"| {bits} | {ours} {1e3 * np.median(column(part, ours)):.2f} ms | {label} "
            cells += f"| {np.median(seconds):.3f} | {alone:.0f} | {batch:.0f} |"
            if ours == "exact":
                theirs, nodes = column(part, f"{name} nodes"), column(part, "nodes")
                done = sum(bool(row[f"{name} finished"]) for row in part)
                cells += f" {np.median(theirs):.0f} : {np.median(nodes):.0f} | {done}/{len(part)} |"
            else:
                cells += " | |"
            lines.append(cells)
        apart = column(part, "ours above clarabel dB")
        lines.append(
            f"Same cuts: ours less Clarabel's value {apart.min():.5f}..{apart.max():.5f} dB"
        )
    return "\n".join(lines)


def main() -> None:
    """Run the sample and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=30.0, help="limit of SCIP and Gurobi")
    parser.add_argument("--channels", type=int, default=2)
    parser.add_argument("--bits", type=int, nargs="+", default=[2, 3, 4, 8])
    parser.add_argument("--csv", type=Path, default=Path("benchmark-quantization.csv"))
    options = parser.parse_args()
    warm = np.eye(4) + 0.1
    for method in ("exact", "sdp", "sdp-scs"):
        quantization_range(warm, np.ones((1, 4)), bits=2, scale=0.3, method=method, time_limit=None)
    rows = measure(options)
    write_csv(options.csv, rows)
    print(f"{len(rows)} problems of {options.folder}, one thread; medians over the problems")
    print(table(rows))
    print(f"written to {options.csv}")


if __name__ == "__main__":
    main()
