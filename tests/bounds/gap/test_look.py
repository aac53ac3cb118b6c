"""What weights look like, in words."""

from __future__ import annotations

import numpy as np
import pytest

from bounds.gap.look import find_pattern, look
from tests.bounds.gap.judged_cases import draw_dump, pruned, rounded

DUMP = draw_dump(features=256, channels=20)
FINE = 2.0**-52


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("int4-channel", "this looks like int4, a step a channel"),
        ("int4-tensor", "this looks like int4, "),
        ("int4-g128", "this looks like int4 in groups of 128"),
        ("int4-g64-asym", "this looks like int4 in groups of 64, with zero points"),
        ("int3-g32", "this looks like int3 in groups of 32"),
        ("nf4", "this looks like nf4 in groups of 64"),
    ],
)
def test_grids(rule, words):
    found = look(rounded(DUMP, rule), FINE)
    assert str(found).startswith(words) and found.grid is not None and not found.sparse
    narrow = rounded(DUMP, rule).astype(np.float16).astype(float)
    assert str(look(narrow, 2.0**-10)).startswith(words), "as FP16 holds them"


def test_sparse_and_both():
    w = pruned(DUMP, (2, 4))
    found = look(w, FINE)
    assert found.pattern == (2, 4) and found.grid is None
    assert str(found) == "this looks like 2:4 sparse"
    step = 0.25
    both = look(step * np.clip(np.rint(w / step), -8, 7), FINE)
    assert both.pattern == (2, 4) and both.grid is not None
    assert str(both) == "this looks like both: int4, a step a channel, 2:4 sparse"
    loose = np.where(np.abs(DUMP.weights) > 1, DUMP.weights, 0).astype(float)
    assert str(look(loose, FINE)) == "this looks like 67% zeros in no pattern"


def test_nothing_fits():
    found = look(DUMP.weights.astype(float), 2.0**-23)
    assert found.grid is None and found.closest is not None and not found.sparse
    assert str(found).startswith("this looks like no grid in use; closest is ")
    off = rounded(DUMP, "int4-g128")
    off[0, 0] += 0.01
    assert "closest is int4 in groups of 128" in str(look(off, FINE))
    assert "on which 100.0% of the weights lie" in str(look(off, FINE))


def test_patterns():
    rows = np.zeros((2, 16))
    assert find_pattern(rows) is None
    rows[:, ::4] = 1
    assert find_pattern(rows) == (1, 4)
    rows[0, 1] = 1
    assert find_pattern(rows) == (2, 4)
    rows[0, 2:4] = 1
    assert find_pattern(rows) is None  # five of the first eight
    rows[0, 4] = 0
    assert find_pattern(rows) == (4, 8)
