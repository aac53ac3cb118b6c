"""Every kernel that joint problems can reach, called once on tiny ones."""

from __future__ import annotations

import numpy as np

from bounds.joint.solve import joint_range
from bounds.problem.methods import Method


def walk(method: Method) -> None:
    """Call what ``method`` can call."""
    rng = np.random.default_rng(0)
    inputs, weights = rng.normal(size=(50, 8)), rng.normal(size=(2, 8))
    gram = inputs.T @ inputs
    for some in (weights, weights[:1]):
        joint_range(gram, some, keep=3, bits=3, scale=0.3, method=method.name)
        if method.proves == "optimum":
            joint_range(gram, some, keep=3, bits=3, scale=0.3, method=method.name, node_limit=1)
