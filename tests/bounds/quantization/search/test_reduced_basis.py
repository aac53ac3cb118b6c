"""Lattice reduction: bases that are verified to be ones, and shorter."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from bounds.quantization.search import reduced_basis as rooms
from bounds.quantization.search.reduced_basis import gain, log_nodes, reduced_basis


def stiff(n: int, condition: float, seed: int) -> np.ndarray:
    rng = np.random.default_rng([seed, n])
    turn = np.linalg.qr(rng.standard_normal((n, n)))[0]
    gram = (turn * np.geomspace(1, 1 / condition, n)) @ turn.T
    return (gram + gram.T) / 2


def determinant(matrix: np.ndarray) -> Fraction:
    rows = [[Fraction(int(x)) for x in row] for row in matrix]
    value = Fraction(1)
    for k in range(len(rows)):
        pivot = next((i for i in range(k, len(rows)) if rows[i][k]), None)
        if pivot is None:
            return Fraction(0)
        if pivot != k:
            rows[k], rows[pivot] = rows[pivot], rows[k]
            value = -value
        value *= rows[k][k]
        for i in range(k + 1, len(rows)):
            share = rows[i][k] / rows[k][k]
            rows[i] = [x - share * y for x, y in zip(rows[i], rows[k], strict=True)]
    return value


@pytest.mark.parametrize("condition", [1e1, 1e6, 1e12, 1e16])
@pytest.mark.parametrize("n", [1, 2, 7, 27])
def test_a_basis_has_determinant_one_and_its_inverse_exactly(n, condition):
    form = stiff(n, condition, 1)
    basis = reduced_basis(form)
    assert basis is not None
    assert abs(determinant(basis.columns)) == 1
    product = basis.columns.astype(object) @ basis.inverse.astype(object)
    assert (product == np.eye(n, dtype=int)).all()


def test_columns_are_size_reduced_and_obey_lovasz():
    form = stiff(20, 1e6, 3)
    basis = reduced_basis(form)
    assert basis is not None
    columns = basis.columns.astype(float)
    factor = np.linalg.cholesky(columns.T @ form @ columns).T
    share = factor / np.diag(factor)[:, None]
    assert np.abs(np.triu(share, 1)).max() < 0.5 + 1e-6
    for k in range(1, 20):
        assert factor[k - 1, k] ** 2 + factor[k, k] ** 2 > 0.98 * factor[k - 1, k - 1] ** 2
    assert not basis.trivial
    plain, reduced = (np.diag(np.linalg.cholesky(f)) for f in (form, columns.T @ form @ columns))
    assert gain(plain, reduced) > 10


def test_orthogonal_inputs_are_left_alone():
    basis = reduced_basis(np.diag([3.0, 1.0, 2.0]))
    assert basis is not None
    assert basis.trivial


def test_a_basis_goes_on_from_another():
    form = stiff(12, 1e5, 4)
    start = reduced_basis(form)
    assert start is not None
    again = reduced_basis(form, start)
    assert again is not None
    assert (again.columns == start.columns).all()
    other = reduced_basis(form + np.diag(np.linspace(0, 1, 12)), start)
    assert other is not None
    assert (other.columns @ other.inverse == np.eye(12)).all()


def test_large_entries_end_the_reduction_and_not_the_proof(monkeypatch):
    """Whatever is refused for its size, what is left is a basis."""
    monkeypatch.setattr(rooms, "LARGEST", 3)
    for seed in range(10):
        basis = reduced_basis(stiff(9, 1e12, seed))
        assert basis is not None
        assert max(np.abs(basis.columns).max(), np.abs(basis.inverse).max()) <= 3
        assert abs(determinant(basis.columns)) == 1


def test_an_indefinite_form_has_no_basis():
    assert reduced_basis(-np.eye(3)) is None


def test_nodes_of_a_one_dimensional_tree_are_the_integers_within_the_radius():
    assert np.exp(log_nodes(np.array([0.01]), 1.0)) == pytest.approx(200, rel=1e-12)
