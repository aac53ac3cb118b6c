"""CKA against its definition, its invariances, and its freedom from bias."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from layers.errors import FinetuneError
from layers.finetuning.cka import Cka, hsic


def features(rows, columns, seed):
    return torch.randn(
        rows, columns, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    )


def orthogonal(size, seed):
    return torch.linalg.qr(features(size, size, seed)).Q


def value(x, y):
    cka = Cka()
    cka.add(x, y)
    return cka.value


def test_hsic_is_its_definition():
    """Song et al. 2012, the U-statistic of eq. 4: a mean over all ordered quadruples."""
    x, y = features(6, 3, 1), features(6, 2, 2)
    k, m = (x @ x.T).numpy(), (y @ y.T).numpy()
    terms = [
        k[a, b] * (m[a, b] + m[c, d] - 2 * m[a, c])
        for a, b, c, d in itertools.permutations(range(6), 4)
    ]
    assert hsic(x, y) == pytest.approx(float(np.mean(terms)), rel=1e-11)


def test_hsic_is_unbiased():
    """Independent features have HSIC 0 in expectation, however few the examples."""
    found = [hsic(features(8, 5, 2 * i), features(8, 5, 2 * i + 1)) for i in range(2000)]
    assert abs(np.mean(found)) < 4 * np.std(found) / math.sqrt(len(found))


@pytest.mark.parametrize("columns", [5, 40])
def test_invariances(columns):
    x, y = features(30, columns, 3), features(30, 12, 4) + features(30, columns, 3)[:, :1]
    known = value(x, y)
    assert 0.05 < abs(known) < 0.95
    assert value(x @ orthogonal(columns, 5), y) == pytest.approx(known, rel=1e-10)
    assert value(7.3 * x, 0.01 * y) == pytest.approx(known, rel=1e-10)
    assert value(x + 100.0, y) == pytest.approx(known, rel=1e-8)
    assert value(y, x) == pytest.approx(known, rel=1e-12)
    assert value(x, -3 * x @ orthogonal(columns, 6)) == pytest.approx(1.0, rel=1e-10)
    skew = torch.diag(torch.linspace(0.01, 10, columns, dtype=torch.float64))
    assert abs(value(x @ skew, y) - known) > 1e-3, "not invariant to every linear map"


def test_minibatches_sum_the_estimates():
    x, y = features(40, 6, 7), features(40, 4, 8)
    cka = Cka()
    for part in (slice(0, 20), slice(20, 40)):
        cka.add(x[part], y[part])
    sums = [
        sum(hsic(a[part], b[part]) for part in (slice(0, 20), slice(20, 40)))
        for a, b in ((x, y), (x, x), (y, y))
    ]
    assert cka.value == pytest.approx(sums[0] / math.sqrt(sums[1] * sums[2]))


def test_a_constant_representation_has_none():
    assert math.isnan(value(torch.ones(8, 3), features(8, 3, 1)))
    assert math.isnan(Cka().value)


def test_too_few_or_other_examples():
    with pytest.raises(FinetuneError, match="4 or more"):
        hsic(features(3, 2, 1), features(3, 2, 1))
    with pytest.raises(FinetuneError, match="same examples"):
        hsic(features(5, 2, 1), features(6, 2, 1))
