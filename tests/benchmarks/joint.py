"""Joint problems of real layers: share of channels exact within a second, times, dB of the dual.

``OMP_NUM_THREADS=1 python -m tests.benchmarks.joint DUMPS --channels 8``
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from bounds import choose_scale, joint_range
from layers import read_dump

#: (bits, share of weights kept)
SETTINGS = ((2, 0.75), (3, 0.5), (4, 0.5), (4, 0.25), (6, 0.75), (8, 0.25), (8, 0.5))


def main() -> None:
    """Solve the middle chunk of every dump, evenly spaced channels."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dumps", type=Path)
    parser.add_argument("--channels", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=1.0)
    given = parser.parse_args()
    exact = total = 0
    for path in sorted(given.dumps.glob("*.safetensors")):
        chunks = list(read_dump(path).chunks(36))
        chunk = chunks[len(chunks) // 2]
        weights = chunk.weights.astype(np.float16).astype(float)
        some = weights[np.linspace(0, len(weights) - 1, given.channels).astype(int)]
        for bits, share in SETTINGS:
            ask = {
                "keep": round(share * weights.shape[1]),
                "bits": bits,
                "scale": choose_scale(weights, bits),
            }
            found = joint_range(chunk.gram, some, time_limit=given.seconds, **ask)
            dual = joint_range(chunk.gram, some, method="dual", **ask)
            best = joint_range(chunk.gram, some, method="descent", **ask)
            exact += found.count("exact")
            total += len(some)
            each = 1e3 * found.seconds / len(some)
            print(
                f"{path.stem[-34:]:34} n={weights.shape[1]} {bits} bits, {ask['keep']:2} kept: "
                f"{found.count('exact')} of {len(some)} exact, {each:6.1f} ms each, "
                f"{np.median(found.nodes):8.0f} nodes, optimum {found.snr_attained:6.2f} dB, "
                f"dual +{dual.snr_bound - found.snr_attained:.2f}, "
                f"descent {best.snr_attained - found.snr_attained:.2f}"
            )
    print(f"{exact} of {total} channels exact in {given.seconds:g} s")


if __name__ == "__main__":
    main()
