"""Exact slices: forms of wide matrices as extended products give them, and in rationals."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from bounds.linalg import forms
from bounds.linalg.forms import form, form_lower, form_upper, rounding_factor
from bounds.linalg.split import split_form
from bounds.problem import gram as room
from bounds.problem.gram import check_problem


def exact(gram, row):
    d = [Fraction(*x.as_integer_ratio()) for x in row]
    return sum(
        (a * Fraction(float(g)) * b for a, line in zip(d, gram, strict=True)
         for g, b in zip(line, d, strict=True)),
        Fraction(0),
    )  # fmt: skip


@pytest.mark.parametrize("spread", [0.0, 8.0])
@pytest.mark.parametrize("near", [0.0, 1.0])
def test_within_the_rounding_of_extended_sums(spread, near, monkeypatch):
    """Inputs of very different size, rows nearly in the Gram's null space."""
    monkeypatch.setattr(forms, "WIDE", 2)
    rng = np.random.default_rng([int(spread), int(near)])
    for n in (2, 3, 17):
        inputs = rng.standard_normal((n + 1, n))
        inputs[:, 0] = near * inputs[:, 1:].sum(axis=1) + (1 - near) * inputs[:, 0]
        inputs *= np.exp(rng.uniform(-spread, spread, n))
        product = inputs.T @ inputs
        gram = np.tril(product) + np.tril(product, -1).T
        rows = rng.standard_normal((3, n)).astype(np.longdouble) / np.sqrt(np.diag(gram))
        rows += np.longdouble(2) ** -60 * rows[::-1]
        found = split_form(gram, rows)
        assert found is not None
        magnitude = ((np.abs(rows) @ np.abs(gram)) * np.abs(rows)).sum(axis=1)
        for c in range(3):
            true = exact(gram, rows[c])
            allowed = Fraction(*(rounding_factor(n) * magnitude[c]).as_integer_ratio())
            assert abs(Fraction(*found[c].as_integer_ratio()) - true) <= allowed
            assert Fraction(float(form_lower(gram, rows)[c])) <= max(true, Fraction(0))
            assert true <= Fraction(float(form_upper(gram, rows)[c]))


def test_wide_matrices_take_the_slices_and_agree():
    rng = np.random.default_rng(1)
    inputs = rng.standard_normal((700, 520))
    product = inputs.T @ inputs
    gram = np.tril(product) + np.tril(product, -1).T
    rows = rng.standard_normal((2, 520)).astype(np.longdouble)
    wide = (rows @ gram.astype(np.longdouble) * rows).sum(axis=1)
    np.testing.assert_allclose(
        np.asarray(form(gram, rows) / wide, np.float64), 1.0, rtol=0, atol=1e-15
    )
    upper = form_upper(gram, rows)
    assert (upper >= wide).all() and (upper <= wide * (1 + 1e-12)).all()
    # zero rows cost nothing, and what has no exact slices goes the long way
    assert form(gram, np.zeros((1, 520)))[0] == 0
    assert split_form(gram.astype(np.longdouble) + np.longdouble(2) ** -60, rows) is None


def test_a_wide_gram_is_checked_by_its_factor(monkeypatch):
    monkeypatch.setattr(room, "WIDE", 4)
    rng = np.random.default_rng(2)
    inputs = rng.standard_normal((9, 6))
    gram = (inputs.T @ inputs + (inputs.T @ inputs).T) / 2
    assert check_problem(gram, np.ones(6)).notes == ()
    singular = inputs[:3].T @ inputs[:3]
    check_problem((singular + singular.T) / 2, np.ones(6))
    with pytest.raises(Exception, match="indefinite"):
        check_problem(gram - 1.01 * np.linalg.eigvalsh(gram)[1] * np.eye(6), np.ones(6))
