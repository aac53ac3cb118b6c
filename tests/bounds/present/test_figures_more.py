"""Losses, held-out and anytime figures, and data for pgfplots: compared as data, not as pixels."""

from __future__ import annotations

import csv
import math
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_hex

from bounds.errors import ProblemError, StudyError
from bounds.present.figures import (
    KINDS,
    WIDTHS,
    anytime_data,
    anytime_figure,
    anytime_panel,
    heldout_data,
    heldout_figure,
    loss_data,
    loss_figure,
    loss_panel,
    range_data,
    save_data,
)
from bounds.results.ranges import chunk_pairs, load_rows
from bounds.results.steps import Step
from tests.bounds.results.row_cases import with_grids


@pytest.fixture
def rows(ran):
    return load_rows(ran.results / "tiny")


@pytest.fixture
def ax():
    yield plt.subplots()[1]
    plt.close("all")


def drawn(ax, label: str) -> np.ndarray:
    (line,) = (line for line in ax.get_lines() if line.get_label() == label)
    return np.asarray(line.get_xydata())


def test_losses_are_optimum_less_method(rows):
    records = loss_data(rows)
    assert {r["method"] for r in records} == {"gptq", "sdp", "magnitude-ls", "perspective"}
    exact = {
        (r.layer, r.chunk, r.bits, r.problem): r.snr_attained for r in rows if r.method == "exact"
    }
    attained = {(r.layer, r.chunk, r.bits, r.problem, r.method): r.snr_attained for r in rows}
    for r in records:
        place = (r["layer"], r["chunk"], r["bits"], r["problem"])
        expected = exact[place] - attained[*place, r["method"]]
        assert r["loss"] == pytest.approx(expected, abs=1e-8)
        assert r["settled"] == 1 and r["loss"] >= 0


def test_losses_without_optimum_are_against_the_bound(rows):
    some = [replace(r, exact=0) for r in rows if r.method in ("gptq", "sdp")]
    records = loss_data(some)
    assert not any(r["settled"] for r in records)
    known = {(r.layer, r.chunk, r.bits): r.snr_bound for r in some if r.lower > 0}
    for r in records:
        (row,) = (
            s
            for s in some
            if all(getattr(s, name) == r[name] for name in ("layer", "chunk", "bits", "method"))
        )
        bound = known[r["layer"], r["chunk"], r["bits"]]
        assert r["loss"] == pytest.approx(bound - row.snr_attained)
    none = loss_data([replace(r, lower=0.0) for r in some])
    assert all(math.isinf(r["loss"]) for r in none)
    assert "at most" in loss_figure(some).get_suptitle()


def test_loss_panel_draws_medians(rows, ax):
    records = [r for r in loss_data(rows) if r["problem"] == "quantization"]
    loss_panel(records, ax=ax)
    for method in ("gptq", "sdp"):
        points = drawn(ax, method)
        for (_, y), bits in zip(points, (2, 4), strict=True):
            losses = [r["loss"] for r in records if (r["method"], r["bits"]) == (method, bits)]
            assert y == pytest.approx(np.median(losses))
    # Infinite losses are left out, and do not stop the drawing.
    loss_panel([r | {"loss": math.inf} for r in records], ax=ax)


def test_loss_figure_has_a_panel_per_problem(rows):
    assert [ax.get_title() for ax in loss_figure(rows).axes] == ["quantization", "pruning"]
    only = [r for r in rows if r.problem == "pruning"]
    assert [ax.get_title() for ax in loss_figure(only).axes] == ["pruning"]
    with pytest.raises(StudyError, match="heuristic"):
        loss_figure([r for r in rows if r.method == "exact"])


def test_heldout_is_of_the_best_weights(rows):
    records = heldout_data(rows)
    assert len(records) == 2 * len(chunk_pairs(rows))
    for r in records:
        same = [
            row
            for row in rows
            if all(getattr(row, n) == r[n] for n in ("layer", "chunk", "bits", "problem"))
        ]
        best = min(same, key=lambda row: row.upper)
        assert (r["calibration"], r["heldout"]) == (best.snr_attained, best.heldout_snr)
    figure = heldout_figure(rows, width="column")
    for ax, problem in zip(figure.axes, ("quantization", "pruning"), strict=True):
        points = {
            tuple(np.round(point, 9))
            for line in ax.get_lines()
            if line.get_marker() == "o"
            for point in np.asarray(line.get_xydata())
        }
        chosen = [r for r in records if r["problem"] == problem]
        assert points == {(round(r["calibration"], 9), round(r["heldout"], 9)) for r in chosen}
    with pytest.raises(StudyError, match="no rows"):
        heldout_figure([])


STEPS = [
    Step(1, 1, 0.01, 10.0, math.inf, False),
    Step(4, 4, 0.02, 11.0, 15.0, False),
    Step(16, 9, 0.015, 12.0, 12.0, True),
]


@pytest.mark.parametrize(("by", "x"), [("seconds", [0.01, 0.02, 0.02]), ("nodes", [1, 4, 9])])
def test_anytime_panel_draws_the_steps(ax, by, x):
    anytime_panel(STEPS, ax=ax, by=by)
    assert drawn(ax, "attained").tolist() == [[a, b] for a, b in zip(x, (10, 11, 12), strict=True)]
    bound = drawn(ax, "bound")
    assert math.isnan(bound[0, 1]) and bound[1:, 1].tolist() == [15.0, 12.0]
    assert drawn(ax, "settled").tolist() == [[x[-1], 12.0]]
    assert ax.get_xscale() == "log"
    with pytest.raises(ProblemError, match="seconds or nodes"):
        anytime_panel(STEPS, ax=ax, by="hours")


def test_anytime_figure_colours_problems():
    figure = anytime_figure({"quantization a": STEPS, "pruning b": STEPS}, width="lncs")
    first, second = (
        next(to_hex(line.get_color()) for line in ax.get_lines() if line.get_label() == "bound")
        for ax in figure.axes
    )
    assert first != second
    with pytest.raises(ProblemError, match="nothing to draw"):
        anytime_figure({})


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_in_every_width(rows, kind):
    draw, _ = KINDS[kind]
    for width, (inches, _) in WIDTHS.items():
        assert draw(with_grids(rows), width=width).get_size_inches()[0] <= inches
    with pytest.raises(StudyError, match="column, text, neurips"):
        draw(with_grids(rows), width="poster")


@pytest.mark.parametrize("kind", KINDS)
def test_data_is_what_pgfplots_reads(rows, kind, tmp_path):
    _, data = KINDS[kind]
    records = data(with_grids(rows))
    path = save_data(records, tmp_path / "new" / "data.csv")
    with path.open(newline="", encoding="utf-8") as file:
        found = list(csv.DictReader(file))
    assert len(found) == len(records) > 0
    for line, record in zip(found, records, strict=True):
        for name, value in record.items():
            assert "," not in line[name] and name.isidentifier()
            if isinstance(value, float):
                assert float(line[name]) == pytest.approx(value, rel=1e-8, nan_ok=True)
            else:
                assert line[name] == str(value)


def test_open_values_are_words_that_pgfplots_knows(rows, tmp_path):
    some = [replace(r, lower=0.0, exact=0) if r.problem == "pruning" else r for r in rows]
    text = save_data(range_data(some), tmp_path / "a.csv").read_text("utf-8")
    assert ",inf," in text and ",nan," in text
    steps = save_data(anytime_data(STEPS), tmp_path / "b.csv").read_text("utf-8").splitlines()
    assert steps[0] == "limit,nodes,seconds,snr_attained,snr_bound,exact"
    assert steps[1] == "1,1,0.01,10,inf,0" and steps[3] == "16,9,0.015,12,12,1"
    (tmp_path / "file").write_text("", "utf-8")
    with pytest.raises(StudyError, match="cannot be written"):
        save_data([], tmp_path / "file" / "a.csv")
