"""Tasks: what is picked, how many weights are kept, and when a key changes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bounds import pruning_range, quantization_range
from bounds.errors import MethodError, StudyError
from bounds.problem.methods import PROBLEMS, methods, taking
from bounds.problem.sparsity import choose_keep
from bounds.study import LayerChoice, Solve, Study
from bounds.study.plan.digest import code_digest, imported
from bounds.study.plan.tasks import Layer, Task, make_tasks, study_layer, thin_out

LAYER = Layer(
    dump=Path("a.safetensors"),
    dump_hash="1" * 64,
    source="net",
    name="layer",
    kind="linear",
    chunks=(0, 1),
    chunk_total=2,
    channels=3,
    max_channels=3,
    select="even",
)
TASK = Task(
    layer=LAYER,
    chunk=0,
    chunk_size=36,
    problem="quantization",
    method="exact",
    bits=(2, 3),
    rounding="fp16",
    rule="mse",
    time_limit=10.0,
    node_limit=None,
    seed=0,
    code="c",
)


@pytest.mark.parametrize(
    ("total", "wanted", "select", "expected"),
    [
        (5, None, "even", (0, 1, 2, 3, 4)),
        (5, 9, "first", (0, 1, 2, 3, 4)),
        (9, 3, "even", (0, 4, 8)),
        (9, 3, "first", (0, 1, 2)),
        (9, 1, "even", (0,)),
    ],
)
def test_thin_out(total, wanted, select, expected):
    assert thin_out(total, wanted, select) == expected


def test_thinned_out_indices_are_distinct():
    for total in range(1, 40):
        for wanted in range(1, total + 1):
            assert len(set(thin_out(total, wanted, "even"))) == wanted


@pytest.mark.parametrize(
    ("features", "bits", "rule", "parts"),
    [
        (36, 2, "floor", ((4, 1.0),)),
        (36, 2, "nearest", ((5, 1.0),)),  # half goes up
        (36, 2, "interpolate", ((4, 0.5), (5, 0.5))),
        (36, 3, "interpolate", ((6, 0.25), (7, 0.75))),
        (36, 4, "interpolate", ((9, 1.0),)),
        (12, 8, "floor", ((6, 1.0),)),
        (5, 16, "interpolate", ((5, 1.0),)),
    ],
)
def test_keep(features, bits, rule, parts):
    keep = choose_keep(features, bits, rule)
    assert keep.parts == parts
    assert keep.wanted == features * bits / 16
    if rule == "interpolate":
        assert keep.recorded == keep.wanted


def test_keep_refuses_another_rule():
    with pytest.raises(StudyError, match="interpolate"):
        choose_keep(36, 2, "ceil")


def test_methods_of_another_problem_are_refused():
    with pytest.raises(MethodError, match="quantization, pruning"):
        methods("distillation")


@pytest.mark.parametrize(
    "change",
    [
        {"chunk": 1},
        {"chunk_size": 35},
        {"problem": "pruning"},
        {"method": "sdp"},
        {"rounding": "none"},
        {"rule": "minmax"},
        {"time_limit": 11.0},
        {"time_limit": None},
        {"node_limit": 1000},
        {"seed": 1},
        {"code": "d"},
        {"layer": replace(LAYER, dump_hash="2" * 64)},
        {"layer": replace(LAYER, max_channels=4)},
        {"layer": replace(LAYER, select="first")},
    ],
    ids=lambda change: next(iter(change)),
)
def test_key_changes_with_what_the_result_depends_on(change):
    assert replace(TASK, **change).key(2) != TASK.key(2)


def test_every_bit_width_has_a_key_that_the_others_do_not_enter():
    assert TASK.key(2) != TASK.key(3)
    assert replace(TASK, bits=(2,)).key(2) == replace(TASK, bits=(3, 2)).key(2) == TASK.key(2)


def test_key_does_not_change_with_the_place_of_the_dump_or_the_other_chunks():
    moved = replace(LAYER, dump=Path("/elsewhere/b.safetensors"), chunks=(0,))
    assert replace(TASK, layer=moved).key(2) == TASK.key(2)


def test_key_of_all_channels_does_not_depend_on_how_they_would_be_picked():
    keys = {
        replace(TASK, layer=replace(LAYER, max_channels=None, select=select)).key(2)
        for select in ("even", "first")
    }
    assert len(keys) == 1


def made(**solve: Any) -> dict[tuple[str, str], Task]:
    seed = solve.pop("seed", 0)
    every: dict[str, Any] = {problem: methods(problem) for problem in PROBLEMS}
    study = Study("s", (LayerChoice("net:work", ("layer",)),), seed, solve=Solve(**(every | solve)))
    return {(t.problem, t.method): t for t in make_tasks(study, [LAYER]) if t.chunk == 0}


@pytest.mark.parametrize(
    ("change", "touched"),
    [
        ({"time_limit": 3.0}, "limits"),
        ({"time_limit": float("inf")}, "limits"),
        ({"node_limit": 7}, "limits"),
        ({"seed": 1}, "seed"),
        ({"time_limit": 10}, {problem: () for problem in PROBLEMS}),  # the default, as a whole
        ({"scale": "minmax"}, {"quantization": methods("quantization"), "pruning": ()}),
        ({"keep": "nearest"}, {"quantization": (), "pruning": methods("pruning")}),
    ],
    ids=lambda value: next(iter(value)),
)
def test_a_parameter_touches_the_methods_that_depend_on_it(change, touched):
    if isinstance(touched, str):
        touched = {problem: taking(problem, touched) for problem in PROBLEMS}
    before, after = made(), made(**change)
    changed = {name for name, task in before.items() if task.key(2) != after[name].key(2)}
    assert changed == {(problem, method) for problem in PROBLEMS for method in touched[problem]}


@pytest.mark.parametrize("problem", PROBLEMS)
def test_methods_said_to_ignore_limits_and_seed_do(problem):
    rng = np.random.default_rng(0)
    inputs, weights = rng.normal(size=(20, 6)), rng.normal(size=(2, 6))
    gram = inputs.T @ inputs
    for method in methods(problem):
        if method in taking(problem, "limits"):
            continue
        limits = [{}, {"node_limit": 1}, {"time_limit": 1e-9}]
        if problem == "pruning":
            found = [pruning_range(gram, weights, keep=3, method=method, **some) for some in limits]
        else:
            limits += [] if method in taking(problem, "seed") else [{"seed": 1}]
            found = [
                quantization_range(gram, weights, bits=3, scale=0.4, method=method, **some)
                for some in limits
            ]
        for other in found[1:]:
            assert np.array_equal(other.lower, found[0].lower), method
            assert np.array_equal(other.weights, found[0].weights), method


def test_digest_covers_the_solvers_and_what_they_import_and_nothing_else():
    package = Path(__file__).parents[4] / "bounds"
    covered = {
        problem: {
            path.relative_to(package).as_posix()
            for path in imported((package / problem).rglob("*.py"))
        }
        for problem in PROBLEMS
    }
    for names in covered.values():
        assert {
            "problem/gram.py",
            "problem/range.py",
            "problem/limits.py",
            "linalg/definite.py",
        } <= names
        assert not any(
            name.startswith(("cli/", "study/", "present/", "results/")) for name in names
        )
    assert "pruning/solve.py" in covered["pruning"] - covered["quantization"]
    assert "quantization/search/exact.py" in covered["quantization"]
    assert code_digest("pruning") != code_digest("quantization")


@pytest.mark.parametrize(("wanted", "channels"), [(2, 2), (11, 11), (12, 12), (99, 12), (None, 12)])
def test_all_channels_are_all_channels_however_many_were_asked_for(ran, wanted, channels):
    path = next(ran.dumps.glob("*head*"))
    layer = study_layer(path, LayerChoice("net:work", ("head",), max_channels=wanted), 12)
    assert layer.channels == channels
    assert layer.max_channels == (None if channels == 12 else channels)
