"""Where a number stands among others, against every one of them."""

from __future__ import annotations

import numpy as np
import pytest

from bounds.linalg.places import interval_place, nearest_place


@pytest.mark.parametrize("count", [1, 2, 3, 7, 16])
def test_interval_and_nearest_are_those_of_a_search_of_all(count):
    rng = np.random.default_rng(count)
    points = np.sort(np.unique(rng.normal(size=count)))
    middles = (points[1:] + points[:-1]) / 2
    for x in (*rng.normal(scale=2, size=50), *points, *middles, -1e300, 1e300):
        below = np.flatnonzero(points[:-1] <= x)
        assert interval_place(points, x) == (below[-1] if below.size else 0)
        distance = np.abs(points - x)
        assert distance[nearest_place(points, x)] == distance.min()
