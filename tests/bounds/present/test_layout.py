"""Every figure at every width, looked at as boxes: nothing cut off, nothing on another thing."""

from __future__ import annotations

import math

import numpy as np
import pytest
from matplotlib.figure import Figure

from bounds.present.figures import KINDS, WIDTHS, anytime_figure
from bounds.problem.methods import PRUNING, QUANTIZATION
from bounds.results.row import Row
from bounds.results.steps import Step
from tests.bounds.present.figure_boxes import faults
from tests.bounds.results.row_cases import make_row, with_grids

FEW = {QUANTIZATION: ("gptq", "descent", "sdp", "exact"), PRUNING: ("magnitude-ls", "exact")}
MANY = {
    QUANTIZATION: ("rtn", "gptq", "gptq-actorder", "babai", "beam", "descent", "sdp", "exact"),
    PRUNING: ("magnitude", "magnitude-ls", "obs", "obs-swap", "perspective", "scip", "exact"),
}
SHORT = (("mobilenet-v2", "features.8.conv.0"),)
LONG = (
    ("mobilenet-v2", "features.8.conv.0"),
    ("a-network-with-a-name-longer-than-a-panel", "backbone.encoder.layer.2.mlp.fc1"),
    ("vit-s14", "/model/encoder/layers_0/attention/query/MatMul_with_no_dot"),
)


def study(
    layers: tuple[tuple[str, str], ...],
    methods: dict[str, tuple[str, ...]],
    bits: range,
    settled: bool = True,
) -> list[Row]:
    """Rows as of a study of these layers; errors fall by 6 dB a bit, and with the method."""
    rng = np.random.default_rng(len(layers))
    rows = []
    for source, layer in layers:
        for chunk in range(1 + settled):
            for width in bits:
                for problem, names in methods.items():
                    optimum = 100.0 / (4.0 if problem == QUANTIZATION else 1.5) ** width
                    for name in names:
                        upper = optimum if name == "exact" else optimum * rng.uniform(1, 2.5)
                        lower = optimum if name in ("exact", "sdp", "perspective") else 0.0
                        exact = 8 if settled and name == "exact" else 0
                        snr = 10 * math.log10(100 / upper)
                        others = {
                            **{"source": source, "layer": layer, "chunk": chunk, "bits": width},
                            **{"channels": 8, "exact": exact, "certified": 8 - exact},
                            **{"snr_attained": snr, "heldout_snr": snr - rng.uniform(0, 2)},
                        }
                        rows.append(make_row(problem, name, lower, upper, **others))
    return with_grids(rows)


STUDIES = {
    "one layer": study(SHORT, FEW, range(4, 5)),
    "a paper's": study(LONG, FEW, range(2, 9)),
    "everything": study(LONG, MANY, range(1, 17), settled=False),
}


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", STUDIES)
def test_nothing_is_cut_off_or_covered(kind, width, name):
    draw, _ = KINDS[kind]
    assert faults(draw(STUDIES[name], width=width)) == []


STEPS = [Step(4**i, 4**i, 0.001 * 4**i, 10.0 + i, 20.0 - i, False) for i in range(6)]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(("count", "by"), [(1, "seconds"), (3, "nodes")])
def test_anytime_too(width, count, by):
    titles = ("quantization, 4 bits, 36 inputs", "pruning, 128 of 1536 inputs kept")
    traces = {f"{titles[i % 2]}{' ' * i}": STEPS for i in range(count)}
    assert faults(anytime_figure(traces, width=width, by=by)) == []


def test_the_check_sees_what_is_wrong():
    figure = Figure(figsize=(3, 2), layout="constrained")
    ax = figure.subplots()
    assert faults(figure) == []
    ax.set_title("much too long a title " * 5)
    assert "title of panel 0 leaves the canvas" in faults(figure)
    ax.set_title("")
    line = ax.plot([0, 1], label="line")
    ax.legend(handles=line, loc="lower left", bbox_to_anchor=(-0.2, 0), borderaxespad=0)
    assert any(fault.endswith("lies on legend of panel 0") for fault in faults(figure))
    ax.legend().remove()
    ax.set_box_aspect(0.3)
    assert any("inches" in fault for fault in faults(figure))
