"""Pruning bounds of a whole layer whose inputs have a nearly flat direction.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.pruning_flat DUMP --channels 0 700 --damping 0 0.01

Per channel and damping (a share of the mean diagonal added to the Gram): dB attained by swap, and
how far above it the bounds stand: perspective, perspective-split, and what a block-diagonal D alone
gives, closed-form blocks ``c ((G^-1)_bb)^-1`` of 1, 2, 4 and 8 inputs with every support of a block
tried (not rounded outwards: a measurement, no bound to quote).
"""

from __future__ import annotations

import argparse
import itertools
import time
from pathlib import Path

import numpy as np

from bounds import pruning_range
from bounds.problem.gram import Floats
from layers.dump.file import read_dump

BLOCKS = (1, 2, 4, 8)


def block_bound(gram: Floats, w: Floats, keep: int, size: int) -> float:
    """``min sum_b error_b`` under ``c D``, D the inverse blocks of ``G^-1``, c the most allowed."""
    n = len(w)
    inverse: Floats = np.linalg.inv(gram).astype(np.float64)
    scale = np.sqrt(np.diag(inverse))
    alike = np.abs(inverse / scale / scale[:, None])
    left = list(range(n))
    diagonal, tables = np.zeros((n, n)), []
    while left:
        first = left[0]
        block = sorted(left, key=lambda j: -alike[first, j])[:size]
        left = [j for j in left if j not in block]
        part: Floats = np.linalg.inv(inverse[np.ix_(block, block)]).astype(np.float64)
        diagonal[np.ix_(block, block)] = part
        tables.append(_costs(inverse[np.ix_(block, block)], w[block], size))
    root = np.linalg.cholesky(gram)
    whitened = np.linalg.solve(root, np.linalg.solve(root, diagonal).T)
    most = 1 / np.linalg.eigvalsh(whitened)[-1]
    table = np.array(tables)
    prices = np.geomspace(1e-9, 1, 400) * table.max()
    kept = np.arange(size + 1)
    return most * max((table + t * kept).min(axis=1).sum() - keep * t for t in prices)


def _costs(inverse: Floats, w: Floats, size: int) -> Floats:
    """Least cost of keeping 0..size inputs of a block; ``inverse``: of its part of D."""
    cost = np.full(size + 1, np.inf)
    for count in range(len(w) + 1):
        for removed in itertools.combinations(range(len(w)), count):
            r = list(removed)
            value = w[r] @ np.linalg.solve(inverse[np.ix_(r, r)], w[r]) if r else 0.0
            cost[len(w) - count] = min(cost[len(w) - count], float(value))
    return cost


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dump", type=Path)
    parser.add_argument("--channels", type=int, nargs="+", default=[0])
    parser.add_argument("--damping", type=float, nargs="+", default=[0.0, 0.01])
    parser.add_argument("--share", type=float, default=0.25, help="of the inputs that are kept")
    options = parser.parse_args()
    (layer,) = read_dump(options.dump).chunks(None)
    n = len(layer.gram)
    keep = int(n * options.share)
    for channel, damping in itertools.product(options.channels, options.damping):
        gram = layer.gram + damping * np.trace(layer.gram) / n * np.eye(n)
        w = layer.weights[channel].astype(np.float64)
        cells = []
        for method in ("perspective", "perspective-split"):
            began = time.process_time()
            found = pruning_range(gram, w, keep=keep, method=method)
            gap = 10 * np.log10(float(found.upper[0] / found.lower[0]))
            cells.append(f"{method} +{gap:.2f} dB in {time.process_time() - began:.0f} s")
            attained = 10 * np.log10(float(found.energy[0] / found.upper[0]))
            upper = float(found.upper[0])
        blocks = [10 * np.log10(upper / block_bound(gram, w, keep, size)) for size in BLOCKS]
        print(
            f"channel {channel}, damping {damping:g}: attained {attained:.2f} dB; "
            + "; ".join(cells)
            + "; blocks of 1, 2, 4, 8: "
            + ", ".join(f"+{gap:.1f}" for gap in blocks),
            flush=True,
        )


if __name__ == "__main__":
    main()
