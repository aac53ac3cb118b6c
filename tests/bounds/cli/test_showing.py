"""``figure``, ``table``, ``report``, ``anytime``, ``gap``: what they do, and what they refuse."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from bounds.gap.judge import gap
from bounds.problem.grid import choose_scale
from bounds.results.ranges import load_rows
from bounds.results.summary import statement
from bounds.results.table import as_table, write_results
from layers.dump.file import dump_path, read_dump
from tests.bounds.cli import test_cli
from tests.bounds.study.study_cases import TINY

cli = test_cli.cli  # the same fixture
refused = test_cli.refused


@pytest.fixture
def study(ran, tmp_path):
    """A copy of the results: the commands write beside them."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    shutil.copy(ran.results / "tiny" / "results.parquet", folder)
    return folder


@pytest.fixture
def half(ran, tmp_path):
    """Results of one problem only."""
    rows = [r for r in load_rows(ran.results / "tiny") if r.problem == "pruning"]
    write_results(tmp_path / "results.parquet", [as_table(rows)], "")
    return tmp_path


@pytest.fixture
def head(ran):
    return dump_path(ran.dumps, TINY, "head")


@pytest.mark.parametrize("kind", ["ranges", "losses", "heldout"])
def test_figure(cli, study, kind):
    code, out, _ = cli("figure", study, "--kind", kind, "--width", "lncs")
    assert code == 0
    paths = [Path(line) for line in out.splitlines()]
    assert paths == [study / f"{kind}.{suffix}" for suffix in ("png", "pdf", "csv")]
    assert all(path.stat().st_size > 100 for path in paths)


def test_figure_refuses(cli, study, half):
    refused(cli("figure", study, "--kind", "pie"), "pie", "ranges, losses, heldout")
    refused(cli("figure", study, "--width", "poster"), "poster", "neurips")
    refused(cli("figure", half), "both problems")
    refused(cli("figure", study, "--out", study / "results.parquet" / "x"), "cannot be written")


def test_table(cli, study, tmp_path):
    code, out, _ = cli("table", study, "--out", tmp_path / "paper")
    assert code == 0
    *paths, proven = out.splitlines()
    names = ["layerbounds.bib", "verdicts.tex", "ranges.tex", "ranges-by-layer.csv"]
    assert [Path(path).name for path in paths] == names
    assert proven == statement(load_rows(study))
    with (tmp_path / "paper" / names[-1]).open(encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 2 * 2 * 3
    assert {line["storage"] for line in lines} == {"values", "entropy", "bitmask"}
    assert sorted(path.name for path in (tmp_path / "paper").iterdir()) == sorted(names)
    code, out, _ = cli("table", study / "results.parquet")
    assert code == 0 and str(study / "verdicts.tex") in out


def test_table_refuses(cli, study, half, tmp_path):
    refused(cli("table", tmp_path / "none"), "no results", "layerbounds study")
    refused(cli("table", half), "both problems")
    refused(cli("table", study, "--out", study / "results.parquet"), "cannot be written")


def test_report(cli, study, tmp_path):
    code, out, _ = cli("report", study)
    assert code == 0 and out.strip() == str(study / "report.html")
    assert "<title>layerbounds: tiny</title>" in (study / "report.html").read_text("utf-8")
    code, out, _ = cli("report", study / "results.parquet", "--out", tmp_path / "new" / "a.html")
    assert code == 0
    assert (tmp_path / "new" / "a.html").read_bytes() == (study / "report.html").read_bytes()


def test_report_refuses(cli, study, half, tmp_path):
    refused(cli("report", tmp_path / "none"), "no results")
    refused(cli("report", half), "both problems")
    refused(cli("report", study, "--out", study / "results.parquet" / "a.html"), "written")


def test_anytime(cli, head, tmp_path):
    arguments = ("anytime", head, "--size", 12, "--chunk", 1, "--channel", 3)
    for number, demand in enumerate((("--bits", 3), ("--keep", 4, "--by", "nodes"))):
        code, out, _ = cli(*arguments, *demand, "--out", tmp_path / f"any{number}")
        assert code == 0
        assert [Path(line).suffix for line in out.splitlines()] == [".png", ".pdf", ".csv"]
        with Path(out.splitlines()[-1]).open(encoding="utf-8") as file:
            steps = list(csv.DictReader(file))
        assert steps[-1]["exact"] == "1"
        assert float(steps[-1]["snr_bound"]) == pytest.approx(float(steps[-1]["snr_attained"]))


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ((), ("--bits", "--keep")),
        (("--bits", "4", "--keep", "3"), ("--bits", "--keep")),
        (("--bits", "4", "--chunk", "9"), ("--chunk 9", "0 to 1")),
        (("--bits", "4", "--channel", "12"), ("--channel 12", "0 to 11")),
        (("--bits", "99"), ("99", "1 to 16")),
        (("--keep", "99"), ("99",)),
        (("--keep", "3", "--by", "hours"), ("hours", "seconds or nodes")),
        (("--keep", "3", "--seconds", "0"), ("--seconds",)),
        (("--keep", "3", "--width", "poster"), ("poster",)),
    ],
)
def test_anytime_refuses(cli, head, tmp_path, arguments, parts):
    refused(cli("anytime", head, "--out", tmp_path / "x", *arguments), *parts)


@pytest.fixture
def rounded(head, tmp_path):
    """The head rounded to nearest at 4 bits, with one step for all, by nobody in particular."""
    weights = read_dump(head).weights.astype(np.float64)
    step = float(choose_scale(weights, 4))
    v = (step * np.clip(np.rint(weights / step), -8, 7)).astype(np.float32)
    path = tmp_path / "rounded.safetensors"
    save_file({"head.weight": v, "head.bias": v[:, 0].copy()}, path)
    return path, v, step


def test_gap_of_a_quantized_layer(cli, head, rounded, tmp_path):
    path, v, step = rounded
    code, out, _ = cli("gap", head, "--weights", path, "--bits", 4, "--size", 12)
    assert code == 0
    found = gap(read_dump(head), v, bits=4, size=12)
    assert f"at most {found.gap:.3f} dB from optimal\n" in out
    assert f"{found.snr:.3f} dB" in out and f"bound {found.snr_bound:.3f} dB" in out
    assert "48 exact" in out and f"{found.layer_snr:.3f} dB, held-out" in out
    worst = int(np.argmax(found.channel_gaps))
    assert f"furthest: channel {worst} at most {found.channel_gaps[worst]:.3f}" in out

    table = tmp_path / "gap.csv"
    arguments = ("--tensor", "head.weight", "--scale", step, "--time-limit", "inf")
    code, out, _ = cli(
        "gap", head, "--weights", path, "--bits", 4, "--size", 12, *arguments, "--out", table
    )
    assert code == 0 and out.splitlines()[-1] == str(table)
    with table.open(encoding="utf-8") as file:
        gaps = [float(line["gap"]) for line in csv.DictReader(file)]
    # The step in the file is rounded to float32 with the weights.
    assert gaps == pytest.approx(found.channel_gaps.tolist(), abs=1e-4)


def test_gap_of_a_pruned_layer(cli, head, tmp_path):
    layer = read_dump(head)
    v = np.where(np.abs(layer.weights) > np.median(np.abs(layer.weights)), layer.weights, 0)
    np.save(tmp_path / "v.npy", v.reshape(layer.weight_shape))
    arguments = ("gap", head, "--weights", tmp_path / "v.npy", "--size", 12)
    code, out, _ = cli(*arguments, "--keep", "own")
    assert code == 0
    assert f"at most {gap(layer, v, keep='own', size=12).gap:.3f} dB from optimal\n" in out
    code, out, _ = cli(*arguments, "--keep", 6)
    told = gap(layer, v, keep=6, size=12)
    assert code == 0 and told.misfits > 0
    assert f"{told.misfits} of 48 chunks of a channel keep more weights" in out
    code, out, _ = cli(*arguments, "--keep", 0)
    assert code == 0 and "no channel fits" in out


def test_gap_without_a_bound_says_so(cli, head, rounded):
    code, out, _ = cli("gap", head, "--weights", rounded[0], "--bits", 4, "--method", "rtn")
    assert code == 0 and "at most any number of dB from optimal" in out


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ((), ("bits", "keep")),
        (("--bits", "4", "--tensor", "tail"), ("tail", "head.weight")),
        (("--bits", "4", "--tensor", "head.bias"), ("head.bias", "shape")),
        (("--bits", "4", "--scale", "best"), ("best", "infer", "mse")),
        (("--bits", "4", "--scale", "-1"), ("positive",)),
        (("--bits", "4", "--method", "best"), ("best", "gptq")),
        (("--bits", "4", "--rounding", "fp8"), ("fp8", "fp16")),
        (("--bits", "4", "--time-limit", "0"), ("--time-limit",)),
        (("--bits", "4", "--size", "0"), ("0",)),
        (("--keep", "some"), ("some", "own")),
    ],
)
def test_gap_refuses(cli, head, rounded, arguments, parts):
    refused(cli("gap", head, "--weights", rounded[0], *arguments), *parts)


def test_gap_refuses_files(cli, head, tmp_path):
    at = ("--bits", 4, "--weights")
    refused(cli("gap", head, *at, tmp_path / "none.npy"), "there is no file", "none.npy")
    refused(cli("gap", head, *at, tmp_path / "w.txt"), ".safetensors, .npy, .npz")
    refused(cli("gap", tmp_path / "no.safetensors", *at, tmp_path / "w.npy"), "no.safetensors")
    np.save(tmp_path / "nan.npy", np.full(read_dump(head).weights.shape, np.nan))
    refused(cli("gap", head, *at, tmp_path / "nan.npy"), "NaN", "(0, 0)")
    code, _, errors = cli("gap", head, "--bits", 4)
    assert code == 2 and "--weights" in errors


def test_fair(cli, head, tmp_path):
    arguments = ("--size", 8, "--chunks", 1, "--channels", 1, "--workers", 1)
    for _ in range(2):  # the second time everything is there
        code, shown, _ = cli("fair", head, *arguments, "--results", tmp_path)
        assert code == 0 and "Best at equal true bits" in shown and "fair.parquet" in shown
    assert (tmp_path / "fair.png").is_file() and len(list((tmp_path / "pieces").iterdir())) == 1
