"""Proofs that carry a basis: right for any centre and unimodular basis, refused for any other."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("flint", reason="the verify extra is not installed")

import flint

from bounds import quantization_range
from bounds.certificate.quantized import quantization_proofs
from bounds.quantization.search import exact
from bounds.verify import PRECISION, Chunk, Grid, Refused, check_proof
from tests.bounds.certificate.certificate_cases import optimum
from tests.bounds.quantization.search.test_reduced_basis import stiff


def grid_of(gram: np.ndarray, weights: np.ndarray, step: float, bits: int = 2) -> Grid:
    flint.ctx.prec = PRECISION
    chunk = Chunk(gram, weights[None, :], 0, {"task": "quantization", "bits": bits})
    return Grid(chunk, weights, step, -(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def random_basis(rng: np.random.Generator, n: int) -> list[list[int]]:
    """A product of a permutation, signs and a few shears."""
    basis = np.eye(n, dtype=int)[rng.permutation(n)] * rng.choice([-1, 1], n)
    for _ in range(n):
        i, j = rng.integers(n, size=2)
        if i != j:
            basis[:, i] += rng.integers(-2, 3) * basis[:, j]
    return basis.tolist()


@pytest.mark.parametrize("rows", [12, 2])
def test_right_whatever_the_centre_and_the_basis(rows):
    rng = np.random.default_rng(rows)
    refuted = 0
    for _ in range(40):
        n = int(rng.integers(1, 5))
        x = rng.standard_normal((rows, n)) * 10.0 ** rng.integers(-3, 3, n)
        gram = (x.T @ x + (x.T @ x).T) / 2
        weights = rng.standard_normal(n) * 10.0 ** rng.integers(-2, 1)
        grid = grid_of(gram, weights, float(rng.uniform(0.05, 1)))
        true = optimum(gram, weights, grid.chunk.claim, {"step": grid.step})
        proof = {
            "is": "reduced",
            "basis": random_basis(rng, n),
            "centre": rng.uniform(-3, 2, n).tolist(),
        }
        check_proof(grid, proof, true * (1 - 1e-9), 10**6)
        if true > 1e-9 * (weights @ gram @ weights):
            refuted += 1
            with pytest.raises(Refused, match="below the lower bound"):
                check_proof(grid, proof, true * (1 + 1e-9), 10**6)
    assert refuted > 10


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"basis": [[2, 0], [0, 1]]}, "not unimodular"),
        ({"basis": [[1, 1], [1, 1]]}, "not unimodular"),
        ({"basis": [[1, 0]]}, "does not have 2 entries"),
        ({"basis": [[1, 0], [0]]}, "does not have 2 entries"),
        ({"basis": [[1, 2**40], [0, 1]]}, "out of range"),
        ({"basis": [[1, 2**20], [0, 1]]}, "reaches too far"),
        ({"basis": [[1.0, 0], [0, 1]]}, "is not an integer"),
        ({"centre": [0.0]}, "does not have 2 entries"),
    ],
)
def test_what_is_no_basis_is_refused(change, reason):
    grid = grid_of(np.array([[2.0, 1.0], [1.0, 3.0]]), np.array([0.3, -0.4]), 0.5)
    proof = {"is": "reduced", "basis": [[1, 0], [0, 1]], "centre": [0.6, -0.8]}
    check_proof(grid, proof, 1e-9, 10**4)
    with pytest.raises(Refused, match=reason):
        check_proof(grid, proof | change, 1e-9, 10**4)


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_a_stiff_channel_is_certified_with_its_basis(bits, monkeypatch):
    monkeypatch.setattr(exact, "STIFF_NODES", 10)
    monkeypatch.setattr("bounds.certificate.quantized.STIFF_NODES", 10)
    gram, rng = stiff(10, 1e5, bits), np.random.default_rng(bits)
    weights = rng.standard_normal((3, 10)) * 1.3
    scale = 2.5 / 2 ** (bits - 1)
    found = quantization_range(gram, weights, bits=bits, scale=scale)
    assert (found.status == "exact").all()
    kinds = []
    for c, claims in enumerate(quantization_proofs(gram, weights, bits, scale, found, 10**6)):
        lower, proof = next(claims)
        assert lower == found.lower[c]
        grid = grid_of(gram, weights[c], scale, bits)
        check_proof(grid, json.loads(json.dumps(proof)), lower, 10**6)
        kinds.append(proof["is"])
        with pytest.raises(Refused):
            check_proof(grid, proof, float(found.upper[c]) * (1 + 1e-6), 10**6)
        with pytest.raises(Refused, match="not finished"):
            check_proof(grid, proof, lower, 3)
    assert "reduced" in kinds
