"""The scale: its line search, and the known SNR of quantizing a normal distribution."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from bounds import quantization_range
from bounds.errors import MethodError, ProblemError
from bounds.fuzz.rational import ExactForm
from bounds.problem.grid import check_scale, choose_scale, integer_range


def loss(weights, scale, bits):
    lo, hi = integer_range(bits)
    return float(np.square(scale * np.clip(np.rint(weights / scale), lo, hi) - weights).sum())


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_line_search_beats_minmax_and_its_neighbours(bits):
    weights = np.random.default_rng(bits).standard_normal((8, 50))
    widest = choose_scale(weights, bits, "minmax")
    best = choose_scale(weights, bits, "mse")
    assert loss(weights, best, bits) <= loss(weights, widest, bits)
    step = widest / 100
    for neighbour in (best - step, best + step):
        if 0 < neighbour <= widest * 1.0001:
            assert loss(weights, best, bits) <= loss(weights, neighbour, bits) * (1 + 1e-12)


def test_minmax_clips_nothing():
    weights = np.random.default_rng(1).standard_normal((4, 30))
    lo, hi = integer_range(4)
    codes = weights / choose_scale(weights, 4, "minmax")
    assert codes.min() >= lo - 1e-12
    assert codes.max() <= hi + 1e-12


def test_channel_rules_treat_channels_alone():
    weights = np.random.default_rng(2).standard_normal((3, 40)) * [[1], [10], [100]]
    scales = choose_scale(weights, 4, "mse-channel")
    assert np.allclose(scales, [float(choose_scale(row[None, :], 4)) for row in weights])


def test_a_normal_distribution_at_four_bits():
    """INT4 on a standard normal: 19.26 dB at the best step of -8..7 (Kuzmin et al. 2023: 19.1)."""
    weights = np.random.default_rng(0).standard_normal((1, 400_000))
    scale = choose_scale(weights, 4)
    ratio = float(np.square(weights).sum()) / loss(weights, scale, 4)
    assert 10 * np.log10(ratio) == pytest.approx(19.26, abs=0.05)


def test_white_inputs_make_rounding_optimal():
    """With G = I the error separates, so nearest codes are the optimum and every method agrees."""
    weights = np.random.default_rng(4).standard_normal((5, 200))
    scale = choose_scale(weights, 4)
    found = {
        method: quantization_range(
            np.eye(200), weights, bits=4, scale=scale, method=method, time_limit=None
        )
        for method in ("rtn", "gptq", "descent", "exact")
    }
    for method, answer in found.items():
        assert np.allclose(answer.upper, found["rtn"].upper, rtol=1e-12), method
    assert (found["exact"].status == "exact").all()
    assert found["exact"].snr_bound == pytest.approx(19.26, abs=0.6)


def test_zero_weights_have_a_scale():
    assert choose_scale(np.zeros((2, 3)), 4) > 0


@pytest.mark.parametrize("bits", [0, 17, 2.5, True, "4"])
def test_bits_out_of_range(bits):
    with pytest.raises(ProblemError, match="bits"):
        integer_range(bits)


def test_named_errors():
    with pytest.raises(MethodError, match="mse-channel"):
        choose_scale(np.ones((1, 2)), 4, "best")
    with pytest.raises(ProblemError, match="NaN"):
        choose_scale(np.array([[1.0, np.nan]]), 4)
    for bad in (0.0, -1.0, np.inf, np.ones(3), "x"):
        with pytest.raises(ProblemError, match="scale"):
            check_scale(bad, 2)
    with pytest.raises(MethodError, match="sdp-scs"):
        quantization_range(np.eye(2), np.ones((1, 2)), bits=2, scale=1.0, method="magic")
    with pytest.raises(ProblemError, match="time_limit"):
        quantization_range(np.eye(2), np.ones((1, 2)), bits=2, scale=1.0, time_limit=0)


@pytest.mark.parametrize("seed", range(12))
def test_the_weights_returned_attain_the_error_printed(seed):
    """Codes times step may be no float64; weights next to the grid make that the whole error."""
    rng = np.random.default_rng(seed)
    n, step = 3, float(rng.uniform(0.05, 0.3))
    rows = rng.standard_normal((n, n)) * 10.0 ** rng.integers(-4, 5, n)
    gram = (rows.T @ rows + (rows.T @ rows).T) / 2
    codes = rng.integers(-8, 8, (2, n))
    weights = np.nextafter(codes * step, rng.choice([-9.0, 9.0], (2, n)))
    for method in ("rtn", "exact"):
        found = quantization_range(
            gram, weights, bits=4, scale=step, method=method, time_limit=None
        )
        for c in range(2):
            form = ExactForm(gram, weights[c])
            upper = Fraction(float(found.upper[c]))
            assert form.error(found.weights[c]) <= upper
            assert form.grid_error(np.rint(found.weights[c] / step), step) <= upper
            assert Fraction(float(found.lower[c])) <= upper
        assert (found.recomputed() == found.upper).all()
