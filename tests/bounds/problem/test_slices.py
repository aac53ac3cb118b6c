"""Channels a few at a time: the same range, told on the way, and kept when it is stopped."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bounds.errors import Interrupted
from bounds.problem import methods as table
from bounds.problem import slices
from bounds.problem.answer import answer
from bounds.problem.attempt import Attempt, Options
from bounds.problem.gram import Problem, check_problem
from bounds.problem.grid import Grid
from bounds.problem.joint import Joint
from bounds.problem.limits import Limits
from bounds.problem.methods import JOINT, PRUNING, QUANTIZATION, Method, find_method
from bounds.problem.sparsity import Pattern, Sparse, paper_box

CHANNELS = 23


def make_problem(n: int = 9, unit: float = 1.0, rank: int | None = None) -> Problem:
    rng = np.random.default_rng(n)
    inputs = rng.normal(size=(3 * n if rank is None else rank, n))
    return check_problem(unit * inputs.T @ inputs, rng.normal(size=(CHANNELS, n)))


def constraints(kind: str, problem: Problem):
    steps = np.linspace(0.2, 0.6, CHANNELS)
    if kind == QUANTIZATION:
        return [Grid.uniform(3, 0.4), Grid.uniform(2, steps)]
    if kind == JOINT:
        other = Joint(Grid.uniform(2, steps), Pattern(2, 4))
        return [Joint(Grid.uniform(3, 0.4), Sparse(3)), other]
    box = paper_box(problem.weights, 0.5)
    return [Sparse(3), Sparse(3, box), Pattern(2, 4, box), Sparse(0)]


OURS = [(m.kind, m.name) for m in table.table() if not (m.foreign or m.together)]


@pytest.mark.parametrize(("kind", "method"), OURS)
def test_slices_give_what_all_together_give(kind, method):
    for problem in (
        make_problem(),
        make_problem(40),
        make_problem(unit=1e-250),
        make_problem(rank=5),
    ):
        takes = find_method(kind, method).takes
        options = Options(Limits(None, 3000), pairs=2 if "pairs" in takes else 0)
        for constraint in constraints(kind, problem):
            told: list[int] = []
            whole = answer(problem, constraint, method, options)
            found = answer(problem, constraint, method, options, progress=told.append)
            for name in ("lower", "upper", "energy", "weights", "status", "nodes"):
                np.testing.assert_array_equal(getattr(found, name), getattr(whole, name), name)
            assert len(found.proof) == len(whole.proof)
            assert told == sorted(set(told)) and told[-1] == CHANNELS and len(told) > 1


@pytest.mark.parametrize(("kind", "method"), [(QUANTIZATION, "exact"), (PRUNING, "perspective")])
def test_a_stop_keeps_what_is_finished(kind, method):
    problem = make_problem(unit=1e-250)
    constraint = constraints(kind, problem)[1]

    def stop(done: int) -> None:
        if done > 2:
            raise KeyboardInterrupt

    with pytest.raises(Interrupted) as stopped:
        answer(problem, constraint, method, progress=stop)
    found = stopped.value.found
    whole = answer(problem, constraint, method)
    done = len(found.lower)
    assert 2 < done < CHANNELS
    for name in ("lower", "upper", "energy", "weights", "status"):
        np.testing.assert_array_equal(getattr(found, name), getattr(whole, name)[:done], name)
    np.testing.assert_array_equal(found.recomputed(), found.upper)


def test_a_stop_before_anything_is_finished_is_only_a_stop(monkeypatch):
    def run(problem, constraint, options):
        raise KeyboardInterrupt

    monkeypatch.setattr(Method, "load", lambda _: run)
    with pytest.raises(KeyboardInterrupt) as stopped:
        answer(make_problem(), Grid.uniform(3, 0.4), "rtn", progress=lambda _: None)
    assert not isinstance(stopped.value, Interrupted)


def test_a_method_that_joins_channels_is_given_all_of_them(monkeypatch):
    seen: list[int] = []

    def run(problem, constraint, options):
        seen.append(problem.channels)
        return Attempt(np.zeros_like(problem.weights))

    monkeypatch.setattr(Method, "load", lambda _: run)
    for together in (True, False):
        seen.clear()
        chosen = replace(find_method(PRUNING, "swap"), together=together)
        monkeypatch.setattr("bounds.problem.answer.find_method", lambda *_, m=chosen: m)
        answer(make_problem(), Sparse(3), "swap", progress=lambda _: None)
        assert (seen == [CHANNELS]) == together and sum(seen) == CHANNELS


def test_remarks_say_which_channels_they_are_about():
    parts = [
        Attempt(np.zeros((1, 2)), notes=("on all", "on one")),
        Attempt(np.zeros((3, 2)), notes=("on three", "on all")),
    ]
    assert slices.join(parts).notes == (
        "on all",
        "Of channels 0, counted from 0: on one",
        "Of channels 1 to 3, counted from 1: on three",
    )


@pytest.mark.parametrize(
    ("shared", "each", "most"), [(0.001, 0.01, 2), (5.0, 0.01, 2000), (0.001, 1e-5, 16)]
)
def test_what_slices_share_stays_a_part(shared, each, most, monkeypatch):
    """No channels are waited for that need not be, and no time is lost that matters."""
    clock = [0.0]
    monkeypatch.setattr(slices.time, "perf_counter", lambda: clock[0])
    sizes: list[int] = []

    def run(rows: slice) -> Attempt:
        sizes.append(rows.stop - rows.start)
        clock[0] += shared + each * sizes[-1]
        return Attempt(np.zeros((sizes[-1], 1)))

    slices.attempt_slices(run, 3000, lambda _: None)
    assert max(sizes) <= most
    assert clock[0] <= 2.0 * (shared + 3000 * each) or shared < slices.CHEAP
    assert clock[0] <= 10 * (shared + 3000 * each)
