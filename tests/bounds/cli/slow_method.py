"""The command line with a method that takes a third of a second a channel: time to look, or stop.

``python -m tests.bounds.cli.slow_method ARGUMENTS``
"""

from __future__ import annotations

import os
import time

import numpy as np

from bounds.cli import main
from bounds.problem.attempt import Attempt
from bounds.problem.methods import PRUNING, Method, register

SECONDS = float(os.environ.get("SLOW_SECONDS", "0.3"))


def slowly(problem, constraint, options) -> Attempt:
    """Keep nothing, which is right for every budget."""
    time.sleep(SECONDS * problem.channels)
    return Attempt(np.zeros_like(problem.weights))


if __name__ == "__main__":
    register(
        Method("slow", PRUNING, "tests.bounds.cli.slow_method:slowly", takes=frozenset({"box"}))
    )
    main()
