"""Hostile pruning problems against exact rationals, as many as wanted.

    python -m tests.benchmarks.pruning_rational 10000 1

checks so many instances of seed 1 and prints every breach.
"""

from __future__ import annotations

import sys
import time

from tests.references.rational import breaches, instances


def main(count: int, seed: int) -> None:
    """Check and print."""
    began = time.perf_counter()
    done = broken = 0
    for instance in instances(seed, 0, count):
        done += 1
        for breach in breaches(instance):
            broken += 1
            print(breach, flush=True)
    spent = time.perf_counter() - began
    print(f"seed {seed}: {done} instances, {broken} breaches, {spent:.0f} s")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
