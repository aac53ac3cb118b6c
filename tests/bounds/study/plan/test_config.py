"""Studies as dataclasses and as TOML: the same values, the same refusals."""

from __future__ import annotations

import math
from dataclasses import MISSING, fields
from typing import Any

import pytest

from bounds.errors import StudyError
from bounds.study import (
    Calibration,
    LayerChoice,
    Solve,
    Study,
    bundled_studies,
    format_study,
    load_study,
    parse_study,
)

MINIMAL = """\
name = "small"

[[layers]]
source = "mobilenet-v2"
names = ["features.8.conv.0"]
"""

FULL = Study(
    name="full-1.0",
    seed=7,
    layers=(
        LayerChoice('odd:"name"\\ \x7f é', ("a", "b\n"), max_chunks=2, max_channels=3),
        LayerChoice("onnx:other", ("a",), select="first"),
    ),
    calibration=Calibration(images="some/folder", heldout=3, limit=9),
    solve=Solve(
        chunk=12,
        bits=(8, 2),
        rounding="none",
        scale="minmax-channel",
        grids=("int3-g16-asym-mse", "nf4"),
        keep="interpolate",
        quantization=("rtn",),
        pruning=(),
        time_limit=math.inf,
        node_limit=1000,
        workers=5,
        backend="processes",
        certificates=True,
    ),
)


def test_full_study_sets_every_field_to_something_else_than_its_default():
    for part in (FULL, FULL.calibration, FULL.solve, FULL.layers[0]):
        for item in fields(part):
            if item.default is not MISSING and item.name != "select":
                assert getattr(part, item.name) != item.default, item.name


@pytest.mark.parametrize("study", [FULL, parse_study(MINIMAL)], ids=["full", "minimal"])
def test_toml_round_trip(study):
    assert parse_study(format_study(study)) == study


def test_defaults_of_toml_are_those_of_the_dataclasses():
    written = parse_study(MINIMAL)
    built = Study(
        name="small", layers=(LayerChoice(source="mobilenet-v2", names=("features.8.conv.0",)),)
    )
    assert written == built
    assert written.solve == Solve() and written.calibration == Calibration()


@pytest.mark.parametrize(
    ("old", "new", "line", "parts"),
    [
        ('name = "small"', 'name = "small"\nsead = 1', 2, ["sead", "seed"]),
        ('name = "small"', 'name = "../up"', 1, ["name", "../up", "letters"]),
        ('name = "small"', "", None, ["name", "missing"]),
        ('names = ["features', 'nomes = ["features', 5, ["layers.nomes", "names", "max_chunks"]),
        ('names = ["features.8.conv.0"]', "names = []", 5, ["layers.names"]),
        ('"mobilenet-v2"', '"mobilnet"', 4, ["layers.source", "mobilnet", "mobilenet-v2, vit-s14"]),
        ('"mobilenet-v2"', '"onnx:"', 4, ["layers.source", "onnx:FILE", "MODULE:FUNCTION"]),
        ('source = "mobilenet-v2"', "", 3, ["layers.source", "missing"]),
        ("[[layers]]", "[layers]", 3, ["layers", "[[layers]]"]),
    ],
)
def test_top_and_layers_are_refused_with_the_line(old, new, line, parts):
    text = MINIMAL.replace(old, new, 1)
    assert text != MINIMAL
    with pytest.raises(StudyError) as caught:
        parse_study(text, "mine.toml")
    message = str(caught.value)
    assert message.startswith("mine.toml" + (f", line {line}: " if line else ": ")), message
    for part in parts:
        assert part in message


@pytest.mark.parametrize(
    ("assignment", "mend"),
    [
        ("chunk = 0", "1 or more"),
        ("chunk = true", "1 or more"),
        ("chunk = 36.0", "1 or more"),
        ("bits = [2, 17]", "1 to 16"),
        ("bits = [2, 2]", "distinct"),
        ("bits = []", "1 to 16"),
        ("bits = 4", "list"),
        ('rounding = "fp8"', "fp16, bf16, none"),
        ('scale = "max"', "minmax-channel"),
        ('keep = "ceil"', "floor, nearest, interpolate"),
        ('quantization = ["gptq", "best"]', "exact"),
        ('pruning = ["gptq"]', "magnitude-ls"),
        ("time_limit = 0", "positive"),
        ("time_limit = nan", "positive"),
        ("node_limit = 0", "1 or more"),
        ("node_limit = 1e6", "1 or more"),
        ("workers = 0", "1 or more"),
        ('backend = "dask"', "threads, processes"),
        ("certificates = 1", "true or false"),
        ("speed = 3", "time_limit"),
    ],
)
def test_impossible_values_are_refused_with_key_line_and_mend(assignment, mend):
    text = MINIMAL + f"\n# a comment\n[solve]  # limits\nseed_not_here = 1\n{assignment}\n"
    text = text.replace("seed_not_here = 1\n", "\n")
    with pytest.raises(StudyError) as caught:
        parse_study(text, "mine.toml")
    message = str(caught.value)
    assert message.startswith("mine.toml, line 10: "), message
    assert f"solve.{assignment.split()[0]}" in message
    assert mend in message


def test_python_and_toml_refuse_in_the_same_words():
    with pytest.raises(StudyError) as built:
        Solve(bits=(0,))
    with pytest.raises(StudyError) as written:
        parse_study(MINIMAL + "[solve]\nbits = [0]\n", "x")
    assert str(written.value).removeprefix("x, line 7: ") == str(built.value)


def test_line_of_the_second_layers_table():
    text = MINIMAL + '\n[[layers]]\nsource = "vit-s14"\nnames = ["a"]\nmax_chunks = 0\n'
    with pytest.raises(StudyError, match=r"line 10: layers\.max_chunks"):
        parse_study(text)


def test_the_same_layer_twice_is_refused():
    text = MINIMAL + MINIMAL.split("\n\n")[1]
    with pytest.raises(StudyError, match="twice"):
        parse_study(text)


def test_what_is_not_toml_is_refused_with_its_place(tmp_path):
    file = tmp_path / "broken.toml"
    file.write_text("name = \n", "utf-8")
    with pytest.raises(StudyError, match=r"broken\.toml is not TOML.*line 1"):
        load_study(file)
    file.write_bytes(b"name = '\xff'\n")
    with pytest.raises(StudyError, match="UTF-8"):
        load_study(file)


def test_unknown_study_lists_the_bundled_ones():
    with pytest.raises(StudyError, match=r"no study file nosuch;.*demo"):
        load_study("nosuch")


def test_bundled_studies_load_under_their_own_names():
    assert "demo" in bundled_studies()
    for name in bundled_studies():
        assert load_study(name).name == name


@pytest.mark.parametrize("name", bundled_studies())
def test_bundled_studies_survive_the_round_trip(name):
    study = load_study(name)
    assert parse_study(format_study(study)) == study


def test_paper_is_ten_layers_with_everything():
    paper = load_study("paper")
    layers = [(choice.source, name) for choice in paper.layers for name in choice.names]
    assert len(layers) == 10
    assert sum(source == "resnet18" for source, _ in layers) == 3
    assert all(c.max_chunks is c.max_channels is None for c in paper.layers)
    assert paper.solve.bits == (2, 3, 4, 5, 6, 7, 8) and paper.solve.chunk == 36
    for chosen in (paper.solve.quantization, paper.solve.pruning):
        assert "exact" in chosen and len(chosen) >= 4
    assert {"sdp"} <= set(paper.solve.quantization) and "perspective" in paper.solve.pruning


def test_demo_needs_no_network_of_unclear_licence():
    demo = load_study("demo")
    sources = {choice.source for choice in demo.layers}
    assert sources == {"mobilenet-v2", "efficientnet-lite0", "vit-s14"}
    assert sum(len(choice.names) for choice in demo.layers) == 7
    assert demo.solve.bits == (2, 3, 4, 5, 6, 7, 8)


def test_grids_are_texts_or_tables_of_their_words():
    words = {"format": "int", "num_bits": 4, "group_size": 32, "symmetric": False}
    tables: Any = ("INT4-g128", words)
    assert Solve(grids=tables).grids == ("int4-g128", "int4-g32-asym")
    text = 'name = "a"\n[solve]\ngrids = ["nf4", { format = "int", group_size = 64 }]\n'
    text += '[[layers]]\nsource = "vit-s14"\nnames = ["a"]\n'
    study = parse_study(text)
    assert study.solve.grids == ("nf4", "int4-g64")
    assert parse_study(format_study(study)) == study
    wrongs: list[Any] = [
        ("int4", "int4-channel"),
        ("int99",),
        ({"format": "int", "bits": 4},),
        "int4",
    ]
    for wrong in wrongs:
        with pytest.raises(StudyError, match=r"solve.grids: .*list of distinct grids"):
            Solve(grids=wrong)
