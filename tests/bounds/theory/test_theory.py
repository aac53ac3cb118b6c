"""SNR from distributions: against quadrature, against sampling, against known values and limits."""

from __future__ import annotations

import math
import subprocess
import sys
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from scipy import integrate, stats

from bounds.errors import ProblemError
from bounds.problem.grid import choose_scale, integer_range
from bounds.problem.range import snr
from bounds.theory import (
    Density,
    Sample,
    mask_bits,
    moments,
    optimal_step,
    prune,
    pruning_bits,
    pruning_error,
    pruning_snr,
    quantization_bits,
    quantization_error,
    quantization_snr,
    quantize,
    sparsity_at_bits,
    sparsity_at_true_bits,
)

NORMAL = Density()
#: Of every kind: light and heavy tails, cut near, far and not at all, dof where formulas change.
DENSITIES = (
    NORMAL,
    Density(limit=0.05),
    Density(limit=2.5),
    Density(dof=1, limit=3.0),
    Density(dof=2, limit=1e3),
    Density(dof=3.5),
    Density(dof=4, limit=20.0),
    Density(dof=4.0),
    Density(dof=1e3, limit=6.0),
)


def ids(density: Density) -> str:
    return f"t{density.dof:g}-cut{density.limit:g}"


def reference_error(density: Density, bits: int, step: float) -> tuple[float, float]:
    """Rounding and clipping error by adaptive quadrature of the defining integrals."""
    lo, hi = integer_range(bits)
    inner = clipping = 0.0
    for sign, last in ((1.0, hi), (-1.0, -lo)):
        for code in range(last + 1):
            low = step * max(code - 0.5, 0.0)
            high = step * (code + 0.5 if code < last else last)
            inner += _integral(density, lambda w, q=sign * code * step: (w - q) ** 2, low, high)
        end = step * last
        clipping += _integral(density, lambda w, q=end: (w - q) ** 2, end, math.inf)
    return inner, clipping


def _integral(density: Density, weigh, low: float, high: float) -> float:
    """Over positive magnitudes; ``weigh`` sees them with the sign of the code folded in."""
    high = min(high, density.limit, 1e8)  # beyond lies less than 1e-12 of the energy
    if low >= high:
        return 0.0

    def integrand(w: float) -> float:
        return min(weigh(w), weigh(-w)) * float(density.pdf(w))

    # By decades, so that no tail is overlooked.
    edges = [low, *(e for e in np.geomspace(1e-3, 1e8, 23) if low < e < high), high]
    return sum(
        integrate.quad(integrand, a, b, epsabs=1e-14, epsrel=1e-11, limit=200)[0]
        for a, b in pairwise(edges)
    )


def test_known_values_of_the_standard_normal():
    assert quantization_snr(NORMAL, 4) == pytest.approx(19.26, abs=0.005)
    assert optimal_step(NORMAL, 4) == pytest.approx(0.3386, abs=1e-4)
    assert pruning_snr(NORMAL, 0.75) == pytest.approx(5.6, abs=0.05)
    assert NORMAL.threshold(0.75) == pytest.approx(stats.norm.ppf(0.875), rel=1e-13)
    assert NORMAL.kurtosis == 3


@pytest.mark.parametrize("density", DENSITIES, ids=ids)
def test_density_is_normalised_and_its_moments_are_those_of_quadrature(density):
    mean_squares = [
        2 * _integral(density, lambda w, k=k: abs(w) ** k, 0.0, math.inf) for k in (0, 2)
    ]
    assert mean_squares[0] == pytest.approx(1.0, rel=1e-9)
    assert density.second_moment == pytest.approx(mean_squares[1], rel=1e-9)
    if math.isfinite(density.limit):
        fourth = 2 * _integral(density, lambda w: w**4, 0.0, math.inf)
        assert density.kurtosis == pytest.approx(fourth / mean_squares[1] ** 2, rel=1e-9)


@pytest.mark.parametrize("density", DENSITIES, ids=ids)
@pytest.mark.parametrize("bits", [1, 2, 4])
def test_closed_form_is_rounding_plus_clipping(density, bits):
    for step in (optimal_step(density, bits), 0.1):
        error = quantization_error(density, bits, step)
        rounding, clipping = reference_error(density, bits, step)
        unit = density.second_moment
        assert error.rounding == pytest.approx(rounding, abs=1e-11 * unit, rel=1e-8)
        assert error.clipping == pytest.approx(clipping, abs=1e-11 * unit, rel=1e-8)


@pytest.mark.parametrize("density", [d for d in DENSITIES if d.kurtosis < 100], ids=ids)
def test_densities_agree_with_their_samples(density):
    weights = density.sample(200_000, seed=1)
    sample = Sample(weights)
    assert np.abs(weights).max() <= density.limit
    # Tolerances are about four standard deviations of the sample's own error.
    assert sample.kurtosis == pytest.approx(density.kurtosis, rel=0.01 + density.kurtosis / 100)
    for bits in (2, 4, 6):
        step = optimal_step(density, bits)
        rounded = snr(np.square(weights), np.square(weights - quantize(weights, bits, step)))
        assert quantization_snr(sample, bits, step) == pytest.approx(rounded, abs=1e-6)
        assert quantization_snr(density, bits, step) == pytest.approx(rounded, abs=0.25)
        assert quantization_snr(sample, bits) >= rounded
        sparsity = sparsity_at_bits(bits)
        kept = prune(weights, sparsity)
        pruned = snr(np.square(weights), np.square(weights - kept))
        assert np.count_nonzero(kept) == weights.size * bits // 16
        assert pruning_snr(sample, sparsity) == pytest.approx(pruned, abs=1e-9)
        assert pruning_snr(density, sparsity) == pytest.approx(pruned, abs=0.1)


@pytest.mark.parametrize("density", DENSITIES, ids=ids)
def test_threshold_inverts_the_distribution_function(density):
    for sparsity in (0.0, 1e-6, 0.1, 0.5, 0.75, 0.999):
        assert density.mass(density.threshold(sparsity)) == pytest.approx(sparsity, rel=1e-11)
    assert density.threshold(1.0) == density.limit
    assert density.mass(density.widest) == 1


@pytest.mark.parametrize("dof", [0.5, 1, 2, 3, 30, 1e3, 3e4, 1e7])
def test_partial_moments_are_those_of_scipy(dof):
    x = np.array([1e-4, 0.3, 2.0, 50.0])
    reference: Any = stats.t(dof)
    assert moments.peak(dof) == pytest.approx(reference.pdf(0.0), rel=1e-9)
    assert moments.density(dof, x) == pytest.approx(reference.pdf(x), rel=1e-8)
    assert 2 * moments.mass(dof, x) == pytest.approx(1 - 2 * reference.sf(x), rel=1e-9)
    for order, value in ((0, moments.mass(dof, x)), (1, moments.first(dof, x))):
        assert [moments.power(dof, order, end) for end in x] == pytest.approx(value, rel=1e-10)


def test_moments_without_a_limit():
    assert Density(dof=2.5).second_moment == 5
    assert Density(dof=6).kurtosis == 6
    assert Density(dof=4).kurtosis == math.inf


def test_many_degrees_of_freedom_are_normal():
    for limit in (1.0, 3.0, math.inf):
        heavy, normal = Density(dof=1e9, limit=limit), Density(limit=limit)
        assert heavy.kurtosis == pytest.approx(normal.kurtosis, rel=1e-7)
        for bits in (2, 4, 8):
            assert quantization_snr(heavy, bits) == pytest.approx(
                quantization_snr(normal, bits), abs=1e-5
            )
            assert pruning_snr(heavy, 1 - bits / 16) == pytest.approx(
                pruning_snr(normal, 1 - bits / 16), abs=1e-6
            )


def test_a_distant_limit_is_none():
    for bits in (2, 5, 8):
        assert quantization_snr(Density(limit=1e6), bits) == pytest.approx(
            quantization_snr(NORMAL, bits), abs=1e-8
        )


@pytest.mark.parametrize("dof", [0.01, 1, 2, 199.9, 200.1, 1e15, math.inf])
@pytest.mark.parametrize("limit", [1e-60, 1e-6, 1e6, 1e60])
def test_extreme_densities_stay_finite(dof, limit):
    density = Density(dof=dof, limit=limit)
    # No density has a kurtosis below one, nor a falling one below the uniform's.
    assert 1.8 - 1e-9 <= density.kurtosis < math.inf
    assert 0 < density.threshold(0.5) < limit
    assert pruning_snr(density, 0.5) >= 10 * math.log10(8) - 1e-6
    assert 0 <= quantization_snr(density, 2) < 20
    assert np.isfinite(density.sample(100)).all()


def test_a_bit_is_worth_six_decibels_once_nothing_clips():
    cut = Density(dof=2, limit=5.0)
    gains = np.diff([quantization_snr(cut, bits) for bits in (11, 12, 13)])
    assert gains == pytest.approx(20 * math.log10(2), abs=5e-3)
    # At a fine step and wide range the error is that of uniform noise.
    assert quantization_error(NORMAL, 14, 0.002).total == pytest.approx(0.002**2 / 12, rel=1e-6)


def test_a_nearly_uniform_density_has_the_snr_of_the_uniform():
    # 256 codes over an interval: 6.02 dB a bit, but for the one code missing at the top.
    assert quantization_snr(Density(limit=1e-3), 8) == pytest.approx(
        8 * 20 * math.log10(2), abs=0.1
    )
    assert pruning_snr(Density(limit=1e-3), 0.5) == pytest.approx(10 * math.log10(8), abs=1e-5)


def test_optimal_step_beats_every_other():
    for density in (NORMAL, Density(dof=2, limit=100.0)):
        for bits in (1, 2, 3, 8):
            best = optimal_step(density, bits)
            least = quantization_error(density, bits, best).total
            for step in np.geomspace(best / 30, best * 30, 301):
                assert quantization_error(density, bits, float(step)).total >= least * (1 - 1e-12)


def test_heavier_outliers_hurt_quantization_and_not_pruning():
    """The paper's Fig. 2, at dof 2: outliers raise the energy; only a grid must reach them."""
    limits = (3.0, 10.0, 100.0, 1000.0)
    tails = [Density(dof=2, limit=limit) for limit in limits]
    assert (np.diff([d.kurtosis for d in tails]) > 0).all()
    assert (np.diff([quantization_snr(d, 4) for d in tails]) < 0).all()
    assert (np.diff([pruning_snr(d, 0.75) for d in tails]) > 0).all()


def test_sample_agrees_with_the_study_on_the_step():
    weights = np.random.default_rng(5).standard_normal((12, 30)).astype(np.float16).astype(float)
    for bits in (2, 4, 8):
        scale = float(choose_scale(weights, bits))
        searched = snr(np.square(weights), np.square(weights - quantize(weights, bits, scale)))
        assert quantization_snr(Sample(weights), bits, scale) == pytest.approx(searched, abs=1e-8)
        # Ours refines the step; theirs is one of a hundred.
        assert quantization_snr(Sample(weights), bits) >= searched - 1e-9


def test_sample_of_few_weights():
    one = Sample([[-0.5]])
    assert quantization_snr(one, 1) > 100
    assert math.isnan(one.kurtosis)
    assert pruning_snr(one, 0.0) == math.inf
    assert pruning_snr(one, 0.5) == 0
    assert Sample([1.0, 2.0, -3.0, 4.0]).pruned_energy(0.5) == (1 + 4) / 4
    error = quantization_error(Sample([0.4, 3.0, -3.0]), 2, 1.0)
    assert error.total == pytest.approx((0.16 + 4 + 1) / 3)
    assert error.clipping == pytest.approx((4 + 1) / 3)


def test_extreme_sparsities():
    for density in (NORMAL, Density(dof=2, limit=50.0)):
        assert pruning_error(density, 0.0) == 0
        assert pruning_snr(density, 0.0) == math.inf
        assert pruning_error(density, 1.0) == density.second_moment
        assert pruning_snr(density, 1.0) == 0
    weights = np.arange(1.0, 5.0)
    assert prune(weights, 0.5).tolist() == [0, 0, 3, 4]
    assert weights.tolist() == [1, 2, 3, 4]


def test_storage():
    assert sparsity_at_bits(4) == 0.75
    assert mask_bits(0.5) == 1
    assert mask_bits(0.75) == pytest.approx(0.8113, abs=1e-4)
    assert mask_bits(0.0) == mask_bits(1.0) == mask_bits(0.3, "none") == 0
    assert pruning_bits(0.75, "bitmask") == 5
    # One bit a weight is 6.25% of FP16.
    assert mask_bits(0.75, "bitmask") / 16 == 0.0625
    assert quantization_bits(4, 32) == 4.5
    assert quantization_bits(4) == 4
    assert sparsity_at_true_bits(4, "bitmask") == 0.8125
    for bits in (0.5, 2, 4, 8, 15.5, 16):
        for mask in ("entropy", "bitmask", "none"):
            if bits < 1 and mask == "bitmask":
                continue
            sparsity = sparsity_at_true_bits(bits, mask)
            assert pruning_bits(sparsity, mask) == pytest.approx(bits, abs=1e-9)
            assert sparsity >= sparsity_at_bits(bits)


def test_importing_loads_no_solver():
    code = "import bounds.theory, sys; print(*(m for m in ('numba', 'torch') if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: Density(dof=2), "infinite variance"),
        (lambda: Density(dof=0), "dof must be a positive number"),
        (lambda: Density(limit=-1.0), "limit must be a positive number"),
        (lambda: Density(limit=math.nan), "limit must be a positive number"),
        (lambda: Density(limit=1e100), "limit must be between 1e-60 and 1e"),
        (lambda: Density(dof=True, limit=1.0), "dof must be a positive number"),
        (lambda: NORMAL.threshold(1.5), "sparsity must be between 0 and 1"),
        (lambda: quantization_snr(NORMAL, 0), "bits must be a whole number from 1 to 16"),
        (lambda: quantization_snr(NORMAL, 4.5), "bits must be a whole number"),  # type: ignore[arg-type]
        (lambda: quantization_error(NORMAL, 4, 0.0), "step must be a positive number"),
        (lambda: quantize([1.0], 4, math.inf), "step must be a positive number"),
        (lambda: pruning_snr(NORMAL, -0.1), "sparsity must be between 0 and 1"),
        (lambda: prune([1.0], math.nan), "sparsity must be between 0 and 1"),
        (lambda: Sample([]), "no weights"),
        (lambda: Sample([1.0, math.nan]), "NaN or infinite"),
        (lambda: Sample([0.0, 0.0]), "all weights are zero"),
        (lambda: Sample([1.0]).pruned_energy(2), "sparsity must be between 0 and 1"),
        (lambda: sparsity_at_bits(17), "bits must be between 0 and 16"),
        (lambda: mask_bits(-1), "sparsity must be between 0 and 1"),
        (lambda: mask_bits(0.5, "huffman"), "choose from bitmask, entropy, none"),
        (lambda: sparsity_at_true_bits(0.5, "bitmask"), "bits must be between 1 and 16"),
        (lambda: sparsity_at_true_bits(2, "huffman"), "choose from bitmask, entropy, none"),
        (lambda: quantization_bits(0), "bits must be positive"),
        (lambda: quantization_bits(4, 0), "weights_per_scale must be positive"),
    ],
)
def test_refusals_say_what_is_wrong(call, said):
    with pytest.raises(ProblemError, match=said):
        call()
