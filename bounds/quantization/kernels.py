"""Every kernel that quantization can reach, called once on a tiny problem."""

from __future__ import annotations

import numpy as np

from bounds.problem.gram import check_problem
from bounds.problem.grid import Grid
from bounds.problem.limits import Limits
from bounds.problem.methods import Method
from bounds.quantization.codes import make_codes
from bounds.quantization.levels import make_levels
from bounds.quantization.search.deepening import search_hard
from bounds.quantization.search.lattice import make_lattice, reduce_chunk
from bounds.quantization.search.shifted import shift
from bounds.quantization.solve import quantization_range


def walk(method: Method) -> None:
    """Call what ``method`` can call."""
    rng = np.random.default_rng(0)
    inputs, weights = rng.normal(size=(50, 6)), rng.normal(size=(2, 6))
    gram = inputs.T @ inputs
    # What is SCS's own needs no kernel; around it is what descent needs.
    ours = "descent" if method.foreign else method.name
    grids = (
        Grid.uniform(2, [[0.3, 0.5]], 0, 4),
        Grid.codebook([-1.0, -0.3, 0.2, 1.0], [[0.3, 0.5]], 4),
    )
    # One channel alone has arrays of another memory order than two: to numba another type.
    for some in (weights, weights[:1]):
        quantization_range(gram, some, bits=3, scale=0.3, method=ours)
        for grid in grids:
            quantization_range(gram, some, grid=grid, method=ours)
    if method.proves == "optimum":
        # What only hard channels reach: multipliers, beams, shifts, estimates, an open tree.
        codes = make_codes(check_problem(gram, weights), Grid.uniform(3, 0.3))
        search_hard(codes, 0, np.zeros(6), Limits(None, 1), 0)
        shift(codes.channel(0), 0.0, np.zeros(6), np.zeros(6))
        levels = make_levels(check_problem(gram, weights), grids[1])
        search_hard(levels, 0, np.zeros(6), Limits(None, 1), 0)
        # What only stiff Grams reach: a reduced basis, and a walk in it.
        stiff = gram + 1e5 * np.outer(*[np.array([1.0, 2.0, 3.0, 5.0, 7.0, 11.0])] * 2)
        codes = make_codes(check_problem(stiff, weights), Grid.uniform(3, 0.3))
        lattice = make_lattice(codes.channel(0), reduce_chunk(codes))
        assert lattice is not None
        lattice.nodes(1.0)
        lattice.walk_on(lattice.walk(1.0), 1)
