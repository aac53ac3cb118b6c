"""GPTQ in blocks of columns: the same codes as one column after the other, at any width."""

from __future__ import annotations

import numpy as np
import pytest

from bounds.problem.gram import check_problem
from bounds.problem.grid import Grid
from bounds.quantization.codes import make_codes
from bounds.quantization.heuristics.attained import gptq_codes, nearest
from bounds.quantization.heuristics.rounding import blocked_rounding, successive_rounding


@pytest.mark.parametrize("n", [1, 5, 127, 128, 129, 300])
def test_blocks_round_as_columns_do(n):
    rng = np.random.default_rng(n)
    rows = rng.standard_normal((n + 20, n))
    factor = np.ascontiguousarray(np.linalg.cholesky(rows.T @ rows).T, np.float64)
    targets = 3 * rng.standard_normal((7, n))
    expected = successive_rounding(factor, targets, -4, 3)
    np.testing.assert_array_equal(blocked_rounding(factor, targets, -4, 3), expected)


def test_rounding_asks_for_no_box_minimiser():
    """It costs O(n^3) a channel, which only search and descent need."""
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((30, 20))
    problem = check_problem(rows.T @ rows, rng.standard_normal((3, 20)))
    codes = make_codes(problem, Grid.uniform(3, 0.5))
    nearest(codes)
    gptq_codes(codes)
    assert "start" not in vars(codes)
    np.testing.assert_array_equal(codes.channel(1).start, codes.start[1:2])
