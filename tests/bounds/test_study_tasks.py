"""Tasks: what is picked, how many weights are kept, and when a key changes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bounds.errors import MethodError, StudyError
from bounds.study.problems import choose_keep, methods
from bounds.study.tasks import Layer, Task, thin_out

LAYER = Layer(
    dump=Path("a.safetensors"),
    dump_hash="1" * 64,
    source="net",
    name="layer",
    kind="linear",
    chunks=(0, 1),
    chunk_total=2,
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
        {"bits": (2,)},
        {"bits": (3, 2)},
        {"rounding": "none"},
        {"rule": "minmax"},
        {"time_limit": 11.0},
        {"seed": 1},
        {"code": "d"},
        {"layer": replace(LAYER, dump_hash="2" * 64)},
        {"layer": replace(LAYER, max_channels=4)},
        {"layer": replace(LAYER, select="first")},
    ],
    ids=lambda change: next(iter(change)),
)
def test_key_changes_with_what_the_result_depends_on(change):
    assert replace(TASK, **change).key != TASK.key


def test_key_does_not_change_with_the_place_of_the_dump_or_the_other_chunks():
    moved = replace(LAYER, dump=Path("/elsewhere/b.safetensors"), chunks=(0,))
    assert replace(TASK, layer=moved).key == TASK.key


def test_key_of_all_channels_does_not_depend_on_how_they_would_be_picked():
    keys = {
        replace(TASK, layer=replace(LAYER, max_channels=None, select=select)).key
        for select in ("even", "first")
    }
    assert len(keys) == 1
