"""Every kernel that pruning can reach, called once on a tiny problem."""

from __future__ import annotations

import numpy as np

from bounds.problem.methods import Method
from bounds.pruning.solve import pruning_range


def walk(method: Method) -> None:
    """Call what ``method`` can call."""
    rng = np.random.default_rng(0)
    inputs, weights = rng.normal(size=(50, 8)), rng.normal(size=(2, 8))
    gram = inputs.T @ inputs
    # What is SCIP's own needs no kernel; around it is what the perspective bound needs.
    ours = "perspective" if method.foreign else method.name
    # One channel alone has arrays of another memory order than two: to numba another type.
    for some in (weights, weights[:1]):
        pruning_range(gram, some, keep=3, box=0.5, method=ours)  # so small that it binds
        if method.proves == "optimum":
            pruning_range(gram, some, keep=3, method=ours, node_limit=1)  # a tree left open
