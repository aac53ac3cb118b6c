"""Figures and table of a fine-tuning study."""

from __future__ import annotations

import math

import pytest

from bounds.errors import StudyError
from bounds.present.figures import FINETUNE_KINDS, WIDTHS, save_data, save_figure
from bounds.present.figures.finetuned import accuracy_data, representation_data, training_data
from bounds.present.trained import accuracies, render_accuracy
from bounds.results.finetuned import LAYERS, NETWORKS, read_finetuned
from tests.bounds.present.figure_boxes import faults


@pytest.fixture
def tables(tuned):
    return [read_finetuned(tuned.report.folder, name) for name in (NETWORKS, LAYERS)]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("kind", FINETUNE_KINDS)
def test_nothing_lies_on_another_thing(kind, width, tables):
    assert faults(FINETUNE_KINDS[kind][0](*tables, width=width)) == []


@pytest.mark.parametrize("kind", FINETUNE_KINDS)
def test_files(kind, tables, tmp_path):
    draw, data = FINETUNE_KINDS[kind]
    assert all(path.stat().st_size > 1000 for path in save_figure(draw(*tables), tmp_path / kind))
    text = save_data(data(*tables), tmp_path / "data.csv").read_text("utf-8")
    assert len(text.splitlines()) > 10


def test_records_are_what_the_tables_say(tables):
    networks, layers = tables
    rows = [r for r in networks if (r["method"], r["bits"]) == ("qat", 2)]
    (record,) = (r for r in accuracy_data(networks) if (r["method"], r["bits"]) == ("qat", 2))
    errors = [100 - 100 * row["accuracy"] for row in rows]
    assert record["mean"] == pytest.approx(sum(errors) / 2) and record["seeds"] == 2
    assert (record["least"], record["most"]) == pytest.approx((min(errors), max(errors)))
    records = representation_data(networks, layers)
    assert {r["method"] for r in records} == {"rtn", "qat", "one-shot", "gradual"}
    assert len(records) == 4 * 2 * 3
    for record in training_data(networks, layers):
        own = [r for r in layers if r["run"] == f"{record['method']}-{record['bits']}-seed1"]
        if record["seed"] == 1 and record["bounded"]:
            gaps = sorted(r["snr_bound"] - r["snr"] for r in own if math.isfinite(r["snr_bound"]))
            assert gaps[0] >= -1e-6 and gaps[0] <= record["gap"] <= gaps[-1]
    assert accuracies(networks)["original", None].count == 2


def test_the_table_in_words(tables):
    from rich.console import Console

    console = Console(width=160, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    console.print(render_accuracy(tables[0]))
    text = console.export_text()
    console.file.close()
    assert "24 examples" in text and "gradual" in text and "original network" in text
    assert len([line for line in text.splitlines() if line.strip()[:1] in ("2", "4")]) == 2


def test_nothing_to_draw(tables):
    networks, layers = tables
    original = [row for row in networks if row["method"] == "original"]
    for kind, (draw, _) in FINETUNE_KINDS.items():
        with pytest.raises(StudyError, match="run the study again"):
            draw(original, [])
        with pytest.raises(StudyError, match="unknown width"):
            draw(networks, layers, width=f"no {kind}")


def test_studies_without_bounds_or_with_many_layers(tables):
    networks, layers = tables
    bare = [row | {"lower": None, "snr_bound": None} for row in layers]
    assert len(FINETUNE_KINDS["training"][0](networks, bare).axes) == 1
    many = [row | {"position": row["position"] + 3 * i} for row in layers for i in range(30)]
    for width in ("text", "column"):
        assert faults(FINETUNE_KINDS["representation"][0](networks, many, width=width)) == []
