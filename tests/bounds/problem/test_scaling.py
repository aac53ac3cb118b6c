"""Numbers near the ends of float64: scaled exactly, refused by name, never a false bound."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from bounds import pruning_range, quantization_range
from bounds.errors import ProblemError
from bounds.fuzz import check_instance, fast_methods, make_instance
from bounds.linalg.forms import form_upper
from bounds.problem.grid import choose_scale


def chunk(seed: int = 0, n: int = 5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((n + 3, n))
    gram = rows.T @ rows
    return np.tril(gram) + np.tril(gram, -1).T, rng.standard_normal((2, n))


@pytest.mark.parametrize(
    ("gram_exponent", "weight_exponent"),
    [(0, -500), (0, 480), (900, -600), (-900, 600), (-700, 0), (1000, 0), (-950, -30)],
)
def test_the_unit_changes_the_range_only_by_a_power_of_two(gram_exponent, weight_exponent):
    gram, weights = chunk()
    big_gram, big = np.ldexp(gram, gram_exponent), np.ldexp(weights, weight_exponent)
    power = gram_exponent + 2 * weight_exponent
    step = 0.4
    pairs = [
        (
            quantization_range(gram, weights, bits=3, scale=step, method=method, time_limit=None),
            quantization_range(
                big_gram,
                big,
                bits=3,
                scale=np.ldexp(step, weight_exponent),
                method=method,
                time_limit=None,
            ),
        )
        for method in ("gptq", "sdp", "exact")
    ]
    pairs += [
        (
            pruning_range(gram, weights, keep=2, method=method, box=box, time_limit=None),
            pruning_range(big_gram, big, keep=2, method=method, box=box, time_limit=None),
        )
        for method in ("obs", "perspective", "exact")
        for box in (None, 2.0)
    ]
    for small, large in pairs:
        assert list(large.status) == list(small.status)
        assert np.array_equal(np.ldexp(large.weights, -weight_exponent), small.weights)
        for name in ("lower", "upper", "energy"):
            scaled = np.ldexp(getattr(large, name), -power)
            assert scaled == pytest.approx(getattr(small, name), rel=1e-12), (name, large.method)


@pytest.mark.parametrize("problem", ["quantization", "pruning"])
@pytest.mark.parametrize(("gram_exponent", "weight_exponent"), [(0, -1060), (-980, -300), (0, 480)])
def test_bounds_hold_where_errors_are_subnormal_or_huge(problem, gram_exponent, weight_exponent):
    """Warnings are errors in there, and every statement is checked against exact rationals."""
    checked = 0
    for index in range(400):
        instance = make_instance(problem, 11, index)
        if instance.grid is not None:
            continue  # its steps would have to be moved too
        size = np.abs([*np.diag(instance.gram), *instance.weights.ravel(), *instance.scale])
        if size[size > 0].min(initial=1.0) < 1e-6 or size.max() > 1e6 or instance.grid is not None:
            continue
        tiny = replace(
            instance,
            gram=np.ldexp(instance.gram, gram_exponent),
            weights=np.ldexp(instance.weights, weight_exponent),
            scale=np.maximum(np.ldexp(instance.scale, weight_exponent), 5e-324),
        )
        findings = check_instance(tiny, fast_methods(problem))
        assert not [f for f in findings if f.serious], str(findings[0])
        checked += 1
        if checked == 25:
            return
    raise AssertionError("too few instances of ordinary size")


def test_a_channel_far_smaller_than_the_others():
    gram, weights = chunk()
    weights[1] *= 2.0**-900
    alone, both = (
        pruning_range(gram, weights[0], keep=2, time_limit=None),
        pruning_range(gram, weights, keep=2, time_limit=None),
    )
    assert both.upper[0] == alone.upper[0]
    assert (both.lower[1], both.upper[1]) == (0, 5e-324)
    with pytest.raises(ProblemError, match="channel 1 are over 2e"):
        pruning_range(gram, weights, keep=2, box=2.0, time_limit=None)


@pytest.mark.parametrize(
    ("gram_factor", "weight_factor", "message"),
    [
        (1e307, 1.0, "gram has entries over 4.5e"),
        (1e300, 1e10, "energy w.T G w of channel 0 is beyond float64"),
        (1.0, 1e155, "energy w.T G w of channel 0 is beyond float64"),
    ],
)
def test_what_float64_cannot_hold_is_refused(gram_factor, weight_factor, message):
    gram, weights = chunk()
    gram = gram / np.abs(gram).max() * 9 * gram_factor
    for solve in (
        lambda g, w: quantization_range(g, w, bits=2, scale=0.5 * weight_factor, time_limit=None),
        lambda g, w: pruning_range(g, w, keep=2, time_limit=None),
    ):
        with pytest.raises(ProblemError, match=message):
            solve(gram, weights * weight_factor)


def test_an_attained_error_beyond_float64_is_refused():
    with pytest.raises(ProblemError, match="attained error is beyond float64"):
        quantization_range(np.full((2, 2), 1e300), [6e4, -6e4], bits=1, scale=1e5, method="rtn")


def test_one_row_with_both_ends_of_the_range_is_refused():
    gram, weights = chunk()
    weights[0] = [1e120, 1.0, 1.0, 1.0, 5e-324]
    with pytest.raises(ProblemError, match="weights span more than the range of float64"):
        pruning_range(gram, weights, keep=2, time_limit=None)


def test_a_scale_is_chosen_for_weights_of_any_size():
    _, weights = chunk()
    assert choose_scale(np.ldexp(weights, 700), 3) == np.ldexp(choose_scale(weights, 3), 700)


def test_an_error_that_vanishes_in_products_is_not_zero():
    row = np.array([[1e-200, 0.0]])
    assert form_upper(np.eye(2), row)[0] > 0
    assert form_upper(np.eye(2), 0 * row)[0] == 0
    assert form_upper(np.diag([0.0, 1.0]), row)[0] == 0  # a dead input costs nothing


STAND_IN = """
import numpy
numpy.longdouble = numpy.float64  # as on Windows and on ARM Macs
from bounds.fuzz import fuzz
report = fuzz(240, 2027)
assert report.instances == 240
broken = [str(f) for f in report.findings if f.serious and f.rule != "warning"]
assert not broken, broken
exact = {m: n for (m, s), n in report.statuses.items() if s == "exact"}
assert exact["exact"] > 300, exact
"""


def test_where_extended_precision_is_double_bounds_still_hold():
    done = subprocess.run(
        [sys.executable, "-c", STAND_IN], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
