"""The fuzz: every method brackets brute force, and the fuzz itself notices what is wrong."""

from __future__ import annotations

import itertools
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from bounds import pruning_range
from bounds.errors import MethodError
from bounds.fuzz import FuzzReport, check_instance, fast_methods, fuzz, make_instance
from bounds.fuzz.checks import Truth, check_range
from bounds.fuzz.optima import all_points, supports
from bounds.fuzz.rational import ExactForm, NotSemidefinite, integers
from bounds.fuzz.run import solve
from bounds.problem.range import EXACT


def worst(report: FuzzReport) -> str:
    return "\n".join(str(f) for f in report.findings[:10])


@pytest.mark.parametrize(("problem", "count"), [("quantization", 60), ("pruning", 80)])
def test_every_method_brackets_the_optimum(problem, count):
    report = fuzz(count, 2026, problem=problem)
    assert report.instances == count
    assert report.runs >= count * len(fast_methods(problem))
    assert not report.serious, worst(report)
    if problem == "quantization":  # there lower bounds hold to the last digit
        assert not [f for f in report.findings if f.rule == "lower > optimum"], worst(report)


def test_an_instance_is_reproduced_by_its_seed_and_index():
    a, b = (make_instance("pruning", 5, 17) for _ in range(2))
    assert np.array_equal(a.gram, b.gram)
    assert np.array_equal(a.weights, b.weights)
    assert (a.keep, a.kind, a.node_limit) == (b.keep, b.kind, b.node_limit)
    other = make_instance("pruning", 5, 18)
    assert a.kind != other.kind or not np.array_equal(a.weights, other.weights)


def test_integers_are_the_doubles_themselves():
    values = np.array([0.1, -3e200, 5e-324, 0.0, 1.0, -2.5e-310])
    whole, exponent = integers(values)
    assert [Fraction(m) * Fraction(2) ** exponent for m in whole] == [
        Fraction(float(v)) for v in values
    ]


def test_exact_errors_against_fractions():
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((5, 3))
    gram = np.tril(g := rows.T @ rows) + np.tril(g, -1).T
    w, v = rng.standard_normal(3), rng.standard_normal(3)
    form = ExactForm(gram, w)
    d = [Fraction(a) - Fraction(b) for a, b in zip(v.tolist(), w.tolist(), strict=True)]
    true = sum(
        d[i] * Fraction(float(gram[i, j])) * d[j] for i, j in itertools.product(range(3), repeat=2)
    )
    assert form.error(v) == true
    codes = np.array([3.0, -1.0, 0.0])
    d = [Fraction(0.1) * int(z) - Fraction(b) for z, b in zip(codes, w.tolist(), strict=True)]
    true = sum(
        d[i] * Fraction(float(gram[i, j])) * d[j] for i, j in itertools.product(range(3), repeat=2)
    )
    assert form.grid_error(codes, 0.1) == true
    assert form.point_error(codes + 2, [0.1] * 3, [2.0] * 3) == true
    zeros = [0.3, -7.5, 0.1]
    steps = [0.1, 1e-8, 3.0]
    d = [
        Fraction(s) * (Fraction(float(z)) - Fraction(o)) - Fraction(b)
        for s, z, o, b in zip(steps, codes, zeros, w.tolist(), strict=True)
    ]
    true = sum(
        d[i] * Fraction(float(gram[i, j])) * d[j] for i, j in itertools.product(range(3), repeat=2)
    )
    assert form.point_error(codes, steps, zeros) == true


def test_the_grid_optimum_is_that_of_all_points_in_rationals():
    checked = 0
    for index in range(200):
        truth = Truth(make_instance("quantization", 77, index))
        for best in truth.grid:
            n, points = best.near.shape[1], best.points
            if len(points.levels) ** n <= 200:
                every = all_points(tuple(points.levels.tolist()), n)
                steps, zeros = points.steps, points.zeros
                true = min(best.form.point_error(z, steps, zeros) for z in every)
                assert best.exact() == true
                assert Fraction(*best.floor.as_integer_ratio()) <= true
                checked += 1
    assert checked > 50


def test_the_joint_optimum_is_that_of_all_sparse_codes_in_rationals():
    checked = 0
    for index in range(150):
        instance = make_instance("joint", 5, index)
        truth, n = Truth(instance), len(instance.gram)
        levels = tuple(instance.asked.levels.tolist())
        if len(levels) ** n > 200 or not (np.diag(instance.gram) > 0).all():
            continue
        most, size = instance.pattern or (instance.keep, n)
        allowed = [
            z
            for z in all_points(levels, n)
            if all(np.count_nonzero(z[i : i + size]) <= most for i in range(0, n, size))
        ]
        for best in truth.grid:
            assert best.exact() == min(
                best.form.grid_error(z, float(best.points.steps[0])) for z in allowed
            )
            checked += 1
    assert checked > 30


def test_joint_methods_hold():
    report = fuzz(40, 3, problem="joint")
    assert report.instances == 40 and report.rules == {}


@pytest.mark.parametrize("keep", [0, 1, 2, 4])
def test_the_sparse_optimum_is_that_of_least_squares(keep):
    rng = np.random.default_rng(3)
    rows = rng.integers(-3, 4, (6, 4)).astype(float)
    gram, w = rows.T @ rows, rng.standard_normal(4)
    errors = []
    for support in itertools.combinations(range(4), keep):
        kept = rows[:, list(support)]
        rest = rows @ w - kept @ np.linalg.lstsq(kept, rows @ w, rcond=None)[0]
        errors.append(float(rest @ rest))
    assert np.isclose(float(ExactForm(gram, w).sparse_optimum(keep)), min(errors), atol=1e-12)


def test_singular_and_indefinite_grams_in_rationals():
    singular = np.array([[1.0, 1.0], [1.0, 1.0]])
    assert ExactForm(singular, [0.3, 0.4]).sparse_optimum(1) == 0
    with pytest.raises(NotSemidefinite):
        ExactForm(np.array([[1.0, 1.5], [1.5, 1.0]]), [0.3, 0.4]).sparse_optimum(2)


@pytest.mark.parametrize("power", [8, 10, 13])
def test_weights_that_compensate_from_afar(power):
    """Inputs 0 and 1 alone reproduce the output exactly, with weights of about 2^power."""
    small = 2.0**-power
    rows = np.array([[1, 1, 0, 0], [0, small, 1, 0], [0, small, 0, 1.0]])
    gram, weights = rows.T @ rows, np.ones(4)
    assert ExactForm(gram, weights).sparse_optimum(2) == 0
    found = pruning_range(gram, weights, keep=2, time_limit=None)
    assert found.lower[0] == 0
    assert found.status[0] != EXACT


def sound(problem: str, method: str):
    """An instance whose optimum is no rounding matter, its truth and the method's range."""
    for index in itertools.count():
        instance = make_instance(problem, 11, index)
        found = solve(instance, method)
        if (found.lower > 1e-6 * found.energy).all() and instance.kind.startswith("random"):
            truth = Truth(instance)
            if list(check_range(truth, found, method)):
                continue  # rounding below the floor
            return truth, found
    raise AssertionError


@pytest.mark.parametrize("problem", ["quantization", "pruning"])
def test_tampered_ranges_are_noticed(problem):
    truth, found = sound(problem, "exact")

    def rules(**changes):
        return {f.rule for f in check_range(truth, replace(found, **changes), "exact")}

    bigger = found.upper * (1 + 1e-12)
    assert "lower > optimum" in rules(lower=bigger, upper=bigger)
    assert "upper < attained" in rules(
        upper=found.upper * (1 - 1e-12), lower=found.lower * (1 - 1e-11)
    )
    assert "numbers" in rules(upper=found.upper * np.nan)
    assert "numbers" in rules(lower=-found.lower)
    assert "status" in rules(lower=found.lower * 0.9, status=np.full(found.upper.shape, EXACT))
    assert "status" in rules(status=np.full(found.upper.shape, "optimal"))
    assert "energy" in rules(energy=found.energy * 1.001)
    assert "shape" in rules(energy=found.energy[:-1])
    assert "infeasible weights" in rules(weights=found.weights + 1e-3)
    assert "infeasible weights" in rules(weights=np.full(found.weights.shape, np.inf))


def test_findings_say_how_to_reproduce_them(monkeypatch):
    def crash(*_, **__):
        raise ZeroDivisionError("made up")

    monkeypatch.setattr("bounds.fuzz.run.solve", crash)
    seen = []
    report = fuzz(3, 4, methods=["rtn"], problem="quantization", report=seen.append)
    assert report.serious == 3
    assert report.rules["crash", True] == 3
    assert seen
    text = str(report.findings[0])
    assert "crash: rtn on quantization seed 4 index" in text
    assert "made up" in text


def test_warnings_count_as_findings(monkeypatch):
    monkeypatch.setattr("bounds.fuzz.run.solve", lambda *_, **__: np.array([1e200]) ** 2)
    (found,) = check_instance(make_instance("pruning", 1, 0), ["obs"])
    assert found.rule == "warning"


def test_unknown_names_are_named():
    with pytest.raises(MethodError, match="simulated-annealing"):
        fuzz(1, 0, methods=["simulated-annealing"])
    with pytest.raises(MethodError, match="unknown problem"):
        fuzz(1, 0, problem="distillation")


def test_a_pattern_bounds_every_group():
    """The optimum of 1 in every 2 against all supports by hand."""
    rng = np.random.default_rng(5)
    rows = rng.integers(-3, 4, (7, 5)).astype(float)
    gram, w = rows.T @ rows, rng.standard_normal(5)
    chosen = list(supports(5, 0, (1, 2)))
    assert sorted(chosen) == sorted((a, b, 4) for a in (0, 1) for b in (2, 3))
    errors = []
    for support in chosen:
        kept = rows[:, list(support)]
        rest = rows @ w - kept @ np.linalg.lstsq(kept, rows @ w, rcond=None)[0]
        errors.append(float(rest @ rest))
    assert np.isclose(float(ExactForm(gram, w).sparse_optimum(1, 2)), min(errors), atol=1e-12)
    assert list(supports(4, 2, None)) == list(itertools.combinations(range(4), 2))


def test_the_box_has_a_witness_and_a_bound_above_it_is_noticed():
    gram = np.array([[2.0, 1.9], [1.9, 2.0]])
    weights = np.array([[1.0, 1.0]])
    instance = replace(
        make_instance("pruning", 1, 0), gram=gram, weights=weights, keep=1, pattern=None
    )
    truth = Truth(instance)
    # Without a box one weight of 1.95 is best; inside [0, 1.2] it is 1.2.
    witness, box = truth.boxed(0, 1.2)
    assert box == (0.0, 1.2)
    d = np.array([0.2, -1.0])
    assert float(witness) == pytest.approx(d @ gram @ d, rel=1e-12)
    found = pruning_range(gram, weights, keep=1, box=1.2, time_limit=None)
    assert not list(check_range(truth, found, "exact", box=1.2))
    high = replace(found, lower=found.upper * 1.01, upper=found.upper * 1.01)
    assert "lower > witness" in {f.rule for f in check_range(truth, high, "exact", box=1.2)}
    outside = replace(found, weights=np.array([[1.95, 0.0]]))
    assert "infeasible weights" in {f.rule for f in check_range(truth, outside, "exact", box=1.2)}


def test_instances_cover_what_they_should():
    made = [make_instance(p, 3, i) for p in ("quantization", "pruning") for i in range(600)]
    assert {i.bits for i in made if i.problem == "quantization"} == set(range(1, 9))
    assert {len(i.weights) for i in made} == {1, 2, 4, 8, 16}
    pruned = [i for i in made if i.problem == "pruning"]
    assert {len(i.gram) for i in pruned} == set(range(1, 11))
    assert sum(i.keep == 0 for i in pruned) > 30
    assert sum(i.keep == len(i.gram) for i in pruned) > 30
    assert 5 < sum(i.extreme for i in made) < 60
    assert any((np.diag(i.gram) == 0).any() for i in made)
    size = [np.abs(i.weights).max() for i in made]
    assert min(s for s in size if s > 0) < 1e-100 and max(size) > 1e50


def test_only_extreme_numbers_may_be_refused():
    instance = make_instance("pruning", 1, 2)
    gram = np.full((2, 2), 1e308)
    huge = replace(instance, gram=gram, weights=np.ones((1, 2)), keep=1, extreme=False)
    report = FuzzReport()
    assert [f.rule for f in check_instance(huge, ["obs"], report)] == ["crash"]
    assert check_instance(replace(huge, extreme=True), ["obs"], report) == []
    assert report.refused == 1
