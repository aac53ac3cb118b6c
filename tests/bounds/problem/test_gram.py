"""What counts as a problem, and that an error is never evaluated too small."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

import bounds
from bounds.errors import LayerboundsError, ProblemError
from bounds.gap.judge import Gap
from bounds.linalg.balance import power_of_two_balance
from bounds.linalg.definite import eigenvalue_lower_bound
from bounds.linalg.forms import form_upper
from bounds.problem.attempt import Attempt
from bounds.problem.gram import check_problem, round_weights
from bounds.problem.range import (
    CERTIFIED,
    EXACT,
    HEURISTIC,
    Bounded,
    Range,
    decibels,
    make_range,
    snr,
)
from bounds.problem.sparsity import Sparse
from bounds.results.ranges import BestKnown


def rational_form(gram, d):
    n = len(d)
    g = [[Fraction(float(x)) for x in row] for row in gram]
    v = [Fraction(float(x)) for x in d]
    return sum(v[i] * g[i][j] * v[j] for i in range(n) for j in range(n))


@pytest.mark.parametrize("seed", range(20))
def test_an_upper_value_is_never_below_the_rational_one(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 8))
    rows = rng.standard_normal((n, n)) * 10.0 ** rng.integers(-8, 8, n)
    gram = rows.T @ rows
    gram = (gram + gram.T) / 2
    # nearly in the null space: the worst cancellation
    d = np.linalg.eigh(gram)[1][:, 0]
    exact = rational_form(gram, d)
    assert Fraction(float(form_upper(gram, d[None, :])[0])) >= exact


def test_errors_name_what_is_wrong():
    good, w = np.eye(3), np.ones((2, 3))
    cases = [
        (np.ones((3, 2)), w, "square"),
        (np.eye(4), w, "match the gram"),
        (good, np.full((2, 3), np.nan), "weights has a NaN"),
        (np.where(good > 0, np.inf, 0), w, "gram has a NaN or infinite"),
        (good + np.triu(np.ones((3, 3)), 1), w, "not symmetric"),
        (np.diag([1.0, -1.0, 1.0]), w, "indefinite"),
        (np.array([[1.0, 2, 0], [2, 1, 0], [0, 0, 1]]), w, "indefinite"),
        (np.array([[0.0, 1, 0], [1, 1, 0], [0, 0, 1]]), w, "indefinite"),
        (good.astype(complex), w, "real numbers"),
        (good, np.array([["a", "b", "c"]]), "real numbers"),
        (np.zeros((0, 0)), np.zeros((1, 0)), "empty"),
        (good, np.zeros((0, 3)), "empty"),
    ]
    for gram, weights, message in cases:
        with pytest.raises(ProblemError, match=message) as caught:
            check_problem(gram, weights)
        assert isinstance(caught.value, LayerboundsError)


def test_energy_and_dead_inputs():
    problem = check_problem(np.diag([2.0, 0.0, 3.0]), [1.0, 5.0, 2.0])
    assert problem.energy[0] == 14.0
    assert problem.live.tolist() == [True, False, True]


@pytest.mark.parametrize("seed", range(10))
def test_eigenvalue_bound_is_below_and_close(seed):
    rng = np.random.default_rng(seed)
    q, _ = np.linalg.qr(rng.standard_normal((12, 12)))
    values = np.geomspace(1, 10.0 ** -rng.integers(0, 10), 12)
    matrix = (q * values) @ q.T
    matrix = (matrix + matrix.T) / 2
    bound = eigenvalue_lower_bound(matrix)
    assert bound <= np.linalg.eigvalsh(matrix)[0] * (1 + 1e-6)
    assert bound >= 0.5 * values[-1]
    assert eigenvalue_lower_bound(matrix - 2 * values[-1] * np.eye(12)) == 0.0


def test_indefinite_matrices_are_never_verified():
    for eps in (1e-14, 1e-15, 1e-16, 0.0):
        matrix = np.array([[1.0, 1.0 + eps], [1.0 + eps, 1.0]])
        assert eigenvalue_lower_bound(matrix, guess=1e-17) == 0.0


def test_balance_is_exact():
    diagonal = np.array([3e-20, 1.0, 7e15, 0.0])
    d = power_of_two_balance(diagonal)
    assert (np.frexp(d)[0] == 0.5).all()
    scaled = diagonal * d * d
    assert ((scaled == 0) | ((scaled >= 0.5) & (scaled <= 2))).all()


def test_status_follows_from_the_numbers():
    problem = check_problem([[10.0]], np.ones((4, 1)))
    solution = np.full((4, 1), 1 - 0.1**0.5)
    attempt = Attempt(solution, [1.0, 1.0, 0.5, 0.0], finished=[True, False, True, True])
    found = make_range(problem, Sparse(1), "m", attempt)
    assert found.upper == pytest.approx(1.0) and found.recomputed() == pytest.approx(found.upper)
    assert (
        repr(found) == "Range(at most 1 nonzeros, m: attained 10.00 dB, at most 12.04 dB, "
        "1 exact, 2 certified, 1 heuristic)"
    )
    assert found.status.tolist() == [EXACT, CERTIFIED, CERTIFIED, HEURISTIC]
    assert found.count(CERTIFIED) == 2
    assert found.snr_attained == pytest.approx(10.0)
    assert found.snr_bound == pytest.approx(10 * np.log10(40 / 2.5))


def test_decibels_of_nothing_are_infinite():
    assert decibels(20.0, 2.0) == 10.0 and decibels(2.0, 20.0) == -10.0
    assert decibels(1.0, 0.0) == np.inf
    assert decibels(0.0, 1.0) == decibels(0.0, 0.0) == -np.inf


def test_decibels_and_snr_are_computed_in_one_place():
    """Ranges, what a study knows, and gaps share one definition."""
    for kind in (Range, BestKnown, Gap):
        assert issubclass(kind, Bounded)
        assert not {"snr_bound", "snr_attained"} & set(vars(kind))
    root = Path(bounds.__file__).parent
    taken = [
        p.name for p in root.rglob("*.py") if re.search(r"10 \* \S*log10", p.read_text("utf-8"))
    ]
    assert taken == ["range.py"]


def test_snr_sums_before_taking_logarithms():
    assert snr([1, 99], [1, 0]) == pytest.approx(20.0)
    assert snr([1.0], [0.0]) == np.inf
    assert np.isnan(snr([0.0], [0.0]))


def test_bfloat16_is_that_of_torch():
    rng = np.random.default_rng(0)
    wide = rng.standard_normal(4000) * 10.0 ** rng.integers(-42, 38, 4000)
    ties = np.ldexp(np.arange(1, 1024) + 0.5, rng.integers(-140, 100, 1023))
    weights = np.concatenate([[0.0, 2.0**-133, 2.0**-134, 3.0e38], wide, ties]).astype(np.float32)
    found = round_weights(weights.astype(np.float64), "bf16")
    assert (found == torch.tensor(weights).bfloat16().double().numpy()).all()
    # 1 + 2^-8 is a tie; what a float64 adds decides it, and float32 would not have seen it
    assert round_weights(np.array([1 + 2.0**-8 + 2.0**-40]), "bf16")[0] == 1 + 2.0**-7


def test_roundings_that_do_not_fit_or_are_none():
    weights = np.array([[0.1, 1e5]])
    assert round_weights(weights, "none") is weights
    assert round_weights(weights, "bf16")[0, 1] == 99840
    with pytest.raises(ProblemError, match="do not fit FP16"):
        round_weights(weights, "fp16")
    with pytest.raises(ProblemError, match="do not fit BF16"):
        round_weights(weights * 1e35, "bf16")
    with pytest.raises(ProblemError, match="unknown rounding 'fp8'; choose fp16, bf16, none"):
        round_weights(weights, "fp8")
