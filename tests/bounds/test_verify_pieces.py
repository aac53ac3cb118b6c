"""The pieces of the verifier against brute force and plain linear algebra, without any file."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

pytest.importorskip("flint", reason="the verify extra is not installed")

import flint

from bounds.verify import (
    PRECISION,
    Chunk,
    Grid,
    Refused,
    Sparse,
    check_cover,
    check_search,
    integers,
    pivots,
    pruning_dual,
    quantization_dual,
)
from tests.bounds.certificate.certificate_cases import (
    certificate,
    make_dump,
    optimum,
    parsed,
    pruned,
)


def chunk_of(gram: np.ndarray, weights: np.ndarray) -> Chunk:
    flint.ctx.prec = PRECISION
    return Chunk(gram, weights[None, :], 0, {"task": "quantization", "bits": 2})


@pytest.mark.parametrize("rows", [12, 2])
def test_search_is_right_whatever_the_centre_order_and_cuts(rows):
    """Any centre, order and multipliers give a valid search; only their cost differs."""
    rng = np.random.default_rng(rows)
    for trial in range(40):
        n = int(rng.integers(1, 5))
        x = rng.standard_normal((rows, n)) * 10.0 ** rng.integers(-3, 3, n)
        gram = x.T @ x
        gram = (gram + gram.T) / 2
        weights = rng.standard_normal(n) * 10.0 ** rng.integers(-2, 1)
        grid = Grid(chunk_of(gram, weights), weights, float(rng.uniform(0.05, 1)), -2, 1)
        true = optimum(gram, weights, grid.chunk.claim, {"step": grid.step})
        low = float(np.linalg.eigvalsh(gram)[0]) if rows > n else 0.0
        cut = rng.uniform(0, 0.9, n) * max(low, 0.0) * (trial % 2)
        proof = {
            "is": "search",
            "order": rng.permutation(n).tolist(),
            "centre": rng.uniform(-3, 2, n).tolist(),
            "cut": cut.tolist(),
            "at": rng.integers(-3, 2, n).tolist(),
        }
        check_search(grid, proof, true * (1 - 1e-9), 10**6)
        if true > 1e-9 * (weights @ gram @ weights):
            with pytest.raises(Refused, match="below the lower bound"):
                check_search(grid, proof, true * (1 + 1e-9), 10**6)


def test_pair_cuts():
    """The Lagrangian with cuts on sums and differences agrees with plain linear algebra."""
    rng = np.random.default_rng(4)
    x = rng.standard_normal((30, 3))
    gram = (x.T @ x + (x.T @ x).T) / 2
    weights = rng.standard_normal(3)
    grid = Grid(chunk_of(gram, weights), weights, 0.5, -2, 1)
    cuts = [[0, 2, -1, 0, 0.7], [2, -1, 1, 2, 0.3], [1, 0, 0, 1, 0.4], [0, -3, -3, 3, -0.2]]
    value = float(quantization_dual(grid, {"is": "dual", "cuts": cuts}).mid())
    matrix, linear, constant = gram.copy(), gram @ (weights / 0.5), 0.0
    for i, j, p, q, m in cuts:
        b = np.eye(3)[i] + (np.sign(j) * np.eye(3)[abs(j) - 1] if j else 0)
        matrix -= m * np.outer(b, b)
        linear -= m * (p + q) / 2 * b
        constant -= m * p * q
    constant += weights @ gram @ weights / 0.25 - linear @ np.linalg.solve(matrix, linear)
    assert value == pytest.approx(constant * 0.25, rel=1e-12)
    for wrong in ([0, 2, -1, 1, 0.1], [0, -3, -2, 3, -0.2], [0, 1, 0, 1, 0.1], [3, 0, 0, 1, 0.1],
                  [0, 0, 0, 1, 1e9], [0, 9, 0, 1, 0.1]):  # fmt: skip
        with pytest.raises(Refused):
            quantization_dual(grid, {"is": "dual", "cuts": [*cuts, wrong]})


def test_covers_with_a_hole_are_refused(tmp_path):
    dump = make_dump(40, features=4, channels=1)
    line = parsed(certificate(tmp_path / "c.jsonl", dump, pruned(dump, 2)))[2]
    (chunk,) = dump.chunks(None)
    weights = chunk.weights[0].astype(np.float16).astype(np.float64)
    sparse = Sparse(chunk_of(chunk.gram, weights), weights, 2)
    proof, lower = line["proof"], line["lower"]
    check_cover(sparse, proof, lower)
    tree = proof["tree"]
    wrong = [tree[:-1], [*tree, -1], [-1], [0, *tree], [], [0, 0, -1, -1, -1], [4, -1, -1], [-99]]
    for altered in wrong:
        with pytest.raises(Refused):
            check_cover(sparse, proof | {"tree": altered}, lower)
    # Once two inputs are kept nothing is left to ask.
    with pytest.raises(Refused, match="not undecided"):
        check_cover(sparse, proof | {"tree": [0, -1, 1, -1, 2, -1, -1]}, 0.0)


def test_pivots_prove_definiteness():
    flint.ctx.prec = PRECISION
    one, nothing, tiny = flint.arb(1), flint.arb(0), flint.arb(2.0**-90)
    for corner in (one + tiny, one, one - tiny, flint.arb(1, 2.0**-90)):
        matrix = [[one, one, nothing], [one, corner, nothing], [nothing, nothing, one]]
        if corner > 1:
            assert pivots(matrix)[-1] == 1
            continue
        with pytest.raises(Refused, match="positive definite"):
            pivots(matrix)


def test_integers_are_exact():
    values = [0.1, -3.0, 5e-324, 0.0, 1.7e308]
    numerators, exponent = integers(values)
    for value, numerator in zip(values, numerators, strict=True):
        assert Fraction(numerator, 2**exponent) == Fraction(value)


def test_every_tree_and_every_dual_is_below_the_optimum():
    """Random trees closed by random multipliers: no least leaf is above the best support."""
    rng = np.random.default_rng(7)
    for _ in range(60):
        n = int(rng.integers(1, 6))
        keep = int(rng.integers(0, n + 1))
        x = rng.standard_normal((12, n)) @ (np.eye(n) + rng.uniform(0, 2))
        gram = (x.T @ x + (x.T @ x).T) / 2
        weights = rng.standard_normal(n)
        chunk = chunk_of(gram, weights)
        sparse = Sparse(chunk, weights, keep)
        best = optimum(gram, weights, {"task": "pruning", "keep": keep}, {})
        smallest = float(np.linalg.eigvalsh(gram)[0])
        duals = []
        for _ in range(3):
            d = rng.uniform(0.01, 0.99, n) * smallest
            duals.append([(d * weights * rng.uniform(0.2, 1.8, n)).tolist(), d.tolist()])
        value = pruning_dual(sparse, {"is": "dual", "p": duals[0][0], "d": duals[0][1]})
        assert value < best + 1e-9 * (1 + best)
        tree: list[int] = []
        grow(tree, rng, list(range(n)), keep)
        proof = {"is": "cover", "duals": duals, "tree": tree}
        check_cover(sparse, proof, -1e9)
        with pytest.raises(Refused, match="only shown to cost"):
            check_cover(sparse, proof, best * (1 + 1e-9) + 1e-9)


def grow(tree: list[int], rng: np.random.Generator, free: list[int], room: int) -> None:
    """A random tree, leaves closed by costs or by one of three duals."""
    if not free or room == 0 or rng.random() < 0.2:
        tree.append(-1 - int(rng.integers(4)))
        return
    pick = int(rng.choice(free))
    tree.append(pick)
    rest = [i for i in free if i != pick]
    grow(tree, rng, rest, room)
    grow(tree, rng, rest, room - 1)
