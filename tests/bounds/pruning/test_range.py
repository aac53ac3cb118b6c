"""Pruning against brute force over all supports, invariances, and what a limit may claim."""

from __future__ import annotations

import importlib
import itertools
from functools import partial
from typing import Any

import numpy as np
import pytest

from bounds import pruning_range
from bounds.errors import MethodError, ProblemError
from bounds.problem.methods import PRUNING, methods
from bounds.pruning.search.scip import FEASIBILITY
from tests.references.pruning import gurobi, relaxation
from tests.references.pruning_instances import KINDS, brute_force, brute_force_boxed, problem

FAST = tuple(m for m in methods(PRUNING) if m != "scip")


@pytest.mark.parametrize("method", FAST)
@pytest.mark.parametrize("kind", KINDS)
def test_every_method_brackets_the_optimum(method, kind):
    for n, keep, seed in [(3, 1, 0), (6, 2, 1), (8, 4, 2), (9, 6, 3), (7, 0, 4), (5, 5, 5)]:
        gram, weights = problem(kind, n, seed)
        found = pruning_range(gram, weights, keep=keep, method=method, time_limit=None)
        optimum = np.array([brute_force(gram, w, keep) for w in weights])
        room = 1e-9 * optimum + 1e-12 * found.energy
        assert (found.lower <= optimum + room).all()
        assert (found.upper >= optimum - room).all()
        assert ((found.weights != 0).sum(axis=1) <= keep).all()
        d = (found.weights - weights).astype(np.longdouble)
        attained = np.asarray(((d @ gram) * d).sum(axis=1), float)
        assert np.allclose(found.upper, attained, rtol=1e-9, atol=1e-12 * found.energy.max())
        if method == "exact":
            assert np.allclose(found.upper, optimum, rtol=1e-7, atol=1e-12 * found.energy.max())
            assert (found.lower >= optimum * (1 - 1e-6) - room).all()
            if kind != "ill-conditioned":
                assert (found.status == "exact").all()


@pytest.mark.parametrize("n", [10, 12])
def test_exact_at_the_sizes_brute_force_still_reaches(n):
    for keep in (3, 5, 8):
        gram, weights = problem("random", n, keep, channels=3)
        found = pruning_range(gram, weights, keep=keep, time_limit=None)
        assert np.allclose(found.upper, [brute_force(gram, w, keep) for w in weights], rtol=1e-9)
        assert (found.status == "exact").all()


@pytest.mark.parametrize("kind", ["random", "ill-conditioned"])
@pytest.mark.parametrize("pattern", [None, (2, 4)])
def test_an_interrupted_search_proves_as_much_as_it_has_seen(kind, pattern):
    """Never below the relaxation (but for its rounding), never above the optimum."""
    gram, weights = problem(kind, 28, 3, channels=3)
    solve = partial(pruning_range, gram, weights, keep=None if pattern else 9, pattern=pattern)
    full, root = solve(), solve(method="perspective")
    before = root
    assert (full.status == "exact").all() or kind == "ill-conditioned"
    for nodes in (1, 3, 10, 100, 1000):
        part = solve(node_limit=nodes)
        assert (part.lower >= before.lower * (1 - 1e-3)).all()
        assert (part.lower <= full.upper * (1 + 1e-9)).all()
        assert (part.upper >= full.lower).all()
        assert (part.upper <= root.upper).all()
        assert (part.lower > 0).all()
        open_ = part.upper - part.lower > 1e-9 * part.upper
        assert (part.status[open_] == "certified").all()
        assert (part.nodes <= nodes + 1).all()
        before = part
    late = solve(time_limit=1e-9)
    assert (late.lower >= root.lower * (1 - 1e-3)).all()
    assert (late.lower <= full.upper * (1 + 1e-9)).all()


def test_keeping_more_never_hurts():
    gram, weights = problem("random", 14, 8)
    errors = [pruning_range(gram, weights, keep=k, time_limit=None).upper for k in range(15)]
    for fewer, more in itertools.pairwise(errors):
        assert (more <= fewer * (1 + 1e-9)).all()
    assert (errors[-1] == 0).all()


def test_permutation_sign_and_scale():
    gram, weights = problem("uneven", 12, 2)
    base = pruning_range(gram, weights, keep=4, time_limit=None)
    rng = np.random.default_rng(0)
    order, sign = rng.permutation(12), rng.choice([-1.0, 1.0], 12)
    moved = pruning_range(
        (gram * np.outer(sign, sign))[np.ix_(order, order)],
        (weights * sign)[:, order],
        keep=4,
        time_limit=None,
    )
    assert np.allclose(moved.upper, base.upper, rtol=1e-9)
    for factor in (1e-30, 1e20):
        scaled = pruning_range(gram * factor, weights, keep=4, time_limit=None)
        assert np.allclose(scaled.upper, base.upper * factor, rtol=1e-9)
        assert np.allclose(scaled.lower, base.lower * factor, rtol=1e-9)


def test_a_white_gram_keeps_the_largest_weights():
    weights = np.random.default_rng(1).standard_normal((3, 40))
    found = pruning_range(np.eye(40), weights, keep=10, time_limit=None)
    expected = np.sort(weights**2, axis=1)[:, :30].sum(axis=1)
    assert np.allclose(found.upper, expected, rtol=1e-12)
    assert (found.status == "exact").all()


def test_a_normal_distribution_at_three_quarters_sparsity():
    """Magnitude pruning of a standard normal: 5.6 dB at 75 % (Kuzmin et al. 2023, Section 3)."""
    weights = np.random.default_rng(2).standard_normal((200, 200))
    found = pruning_range(np.eye(200), weights, keep=50, method="magnitude")
    assert found.snr_attained == pytest.approx(5.6, abs=0.1)


def test_perspective_is_the_clarabel_optimum():
    """The same relaxation as an SDP: max over D, p of the dual of ``perspective``."""
    pytest.importorskip("cvxpy")
    pytest.importorskip("clarabel")
    for n, keep, seed in [(10, 4, 0), (10, 4, 1), (24, 6, 2)]:
        gram, weights = problem("random", n, seed, channels=1)
        found = pruning_range(gram, weights, keep=keep, method="perspective")
        gap = 10 * np.log10(relaxation(gram, weights[0], keep) / found.lower[0])
        assert abs(gap) < 0.01


@pytest.mark.parametrize("seed", range(3))
def test_scip_agrees(seed):
    gram, weights = problem("random", 9, seed, channels=1)
    exact = pruning_range(gram, weights, keep=3, time_limit=None)
    scip = pruning_range(gram, weights, keep=3, method="scip", time_limit=10)
    assert scip.upper[0] == pytest.approx(exact.upper[0], rel=1e-5)
    assert scip.lower[0] <= exact.upper[0]
    assert scip.lower[0] >= exact.upper[0] * (1 - 1e-2)


@pytest.mark.parametrize("options", [{"time_limit": 1.0}, {"node_limit": 3}, {"box": 0.5}])
def test_scips_bound_is_lowered_by_its_tolerances(options, monkeypatch):
    """What is claimed stays ``10 FEASIBILITY (1 + rows)`` of the energy below SCIP's own bound."""
    scip = importlib.import_module("pyscipopt")
    reported: list[float] = []

    class Model(scip.Model):
        def getDualbound(self):  # noqa: N802 (SCIP's name)
            reported.append(super().getDualbound())
            return reported[-1]

    monkeypatch.setattr(scip, "Model", Model)
    gram, weights = problem("random", 20, 1, channels=1)
    limits = {"time_limit": 1.0} | options
    found = pruning_range(gram, weights, keep=8, method="scip", **limits)
    exact = pruning_range(gram, weights, keep=8, box=options.get("box"), time_limit=None)
    assert found.status[0] == "certified"
    assert len(reported) == 1
    assert 0 < found.lower[0] <= (reported[0] - 10 * FEASIBILITY * (1 + 5 * 20)) * found.energy[0]
    assert found.lower[0] <= exact.upper[0] <= found.upper[0] * (1 + 1e-12)


def test_a_bound_of_scip_above_an_attained_error_is_discarded(monkeypatch):
    scip = importlib.import_module("pyscipopt")

    class Model(scip.Model):
        def getDualbound(self):  # noqa: N802 (SCIP's name)
            return 2.0

    monkeypatch.setattr(scip, "Model", Model)
    gram, weights = problem("random", 12, 1, channels=1)
    found = pruning_range(gram, weights, keep=4, method="scip", node_limit=2, time_limit=None)
    assert found.lower[0] == 0
    assert found.status[0] == "heuristic"
    assert "discarded" in found.notes[0]


def test_gurobi_agrees():
    pytest.importorskip("gurobipy", reason="optional cross-check: pip install gurobipy")
    for n, keep in ((24, 9), (36, 4)):
        gram, weights = problem("random", n, 1, channels=1)
        found = pruning_range(gram, weights, keep=keep, time_limit=None)
        answer = gurobi(gram, weights[0], keep, float(found.upper[0]), seconds=30)
        assert found.upper[0] <= answer.value * (1 + 1e-6)
        assert found.lower[0] >= answer.bound * (1 - 1e-6)


def test_singular_grams_without_a_box_claim_nothing():
    """Kept weights may grow without limit along a flat direction, so no shift can be undone."""
    rng = np.random.default_rng(5)
    rows = rng.standard_normal((4, 8))
    weights = rng.standard_normal((2, 8))
    for method in ("perspective", "exact", "scip"):
        found = pruning_range(rows.T @ rows, weights, keep=2, method=method, time_limit=None)
        assert (found.lower == 0).all()
        assert (found.status == "heuristic").all()
        assert "box=2" in found.notes[0]


def test_singular_grams_inside_the_papers_box():
    rng = np.random.default_rng(6)
    for _ in range(5):
        rows = rng.standard_normal((5, 8))
        weights = rng.standard_normal((2, 8))
        gram = rows.T @ rows
        found = pruning_range((gram + gram.T) / 2, weights, keep=2, box=2.0, time_limit=None)
        low, high = 2 * weights.min(), 2 * weights.max()
        optimum = np.array([brute_force_boxed(rows, w, 2, low, high) for w in weights])
        assert (found.lower <= optimum * (1 + 1e-9)).all()
        assert (found.lower >= optimum * (1 - 1e-5)).all()
        assert np.allclose(found.upper, optimum, rtol=1e-6)
        assert (found.status != "heuristic").all()


def test_keeping_nothing_loses_the_energy_however_bad_the_gram():
    rows = np.random.default_rng(7).standard_normal((2, 6))
    for method in FAST:
        found = pruning_range(
            rows.T @ rows, np.ones((2, 6)), keep=0, method=method, time_limit=None
        )
        assert np.allclose(found.upper, found.energy, rtol=1e-12)
        assert (found.weights == 0).all()


def test_named_errors():
    gram, weights = np.eye(3), np.ones((1, 3))
    keeps: list[Any] = [-1, 4, 1.5, True]
    for keep in keeps:
        with pytest.raises(ProblemError, match="keep"):
            pruning_range(gram, weights, keep=keep, time_limit=None)
    with pytest.raises(MethodError, match="perspective"):
        pruning_range(gram, weights, keep=1, method="magic")
    with pytest.raises(ProblemError, match="node_limit"):
        pruning_range(gram, weights, keep=1, node_limit=0, time_limit=None)


@pytest.mark.parametrize(("seed", "channel", "keep"), [(0, 1, 2), (2, 2, 3), (1, 1, 3)])
def test_scip_stops_where_its_tolerances_end(seed, channel, keep):
    """It split continuous ranges for minutes to tell its bound from the incumbent by less."""
    pytest.importorskip("pyscipopt")
    rng = np.random.default_rng(seed)
    rows, weights = rng.standard_normal((12, 6)), rng.standard_normal((3, 6))[channel]
    options = {"keep": keep, "time_limit": None}
    found = pruning_range(rows.T @ rows, weights, method="scip", node_limit=3000, **options)
    assert found.nodes[0] < 1000
    optimum = pruning_range(rows.T @ rows, weights, **options)
    assert 0.99 * optimum.upper[0] < found.lower[0] <= optimum.upper[0]
