# %% [markdown]
# # Ranges and verdicts
#
# Fig. 4 of Kuzmin et al. 2023 on layers with their real inputs: quantization's SNR against
# pruning's, each as a range from what fast methods attain to what is proven out of reach. A
# rectangle off the diagonal is a proven ranking. Chunks of 36 inputs are compressed one by one;
# their errors do not add up to the layer's.

# %%
"""Ranges and verdicts: the study `demo`, its figure, and who is proven better where."""

import os
from collections import Counter
from dataclasses import replace
from io import BytesIO
from itertools import groupby
from pathlib import Path

import numpy as np
from IPython.display import Image, Markdown, display

from bounds.errors import StudyError
from bounds.present.figures import range_figure
from bounds.results.ranges import chunk_pairs, layer_pairs, load_rows
from bounds.study import Calibration, load_study

SMALL = os.environ.get("LAYERBOUNDS_NOTEBOOK_SMALL") == "1"  # for the tests: seconds
ROOT = Path("..")

# %% [markdown]
# ## The study
#
# `layerbounds study demo` writes the table that is read here. Where it is missing the study is run,
# which takes minutes.

# %%
study = load_study("demo")
if SMALL:
    layers = (replace(study.layers[0], names=("features.8.conv.0",), max_chunks=1, max_channels=4),)
    study = replace(
        study,
        name="demo-small",
        layers=layers,
        calibration=Calibration(heldout=2, limit=8),
        solve=replace(study.solve, bits=(2, 4, 8), workers=1),
    )
folder = ROOT / "results" / study.name
try:
    rows = load_rows(folder)
except StudyError:
    from bounds.study.run.running import run_study  # brings the solvers

    report = run_study(study, results=ROOT / "results", dumps=ROOT / "dumps")
    rows = load_rows(report.results)
pairs = chunk_pairs(rows)
problems = sum(pair.quantization.channels + pair.pruning.channels for pair in pairs)
exact = sum(pair.quantization.exact + pair.pruning.exact for pair in pairs)
sources = {pair.source for pair in pairs}
count = len({(pair.source, pair.layer) for pair in pairs})
display(
    Markdown(
        f"{count} layers of {len(sources)} networks, {len(pairs)} rectangles (chunk and bit "
        f"width), {problems:,} problems, {exact:,} of them solved to proven optimality."
    )
)

# %% [markdown]
# ## The figure (Fig. 4)

# %%
picture = BytesIO()
range_figure(rows).savefig(picture, format="png", dpi=160)
display(Image(picture.getvalue()))

# %% [markdown]
# ## Verdicts
#
# Per layer (errors summed over its chunks) and bit width: who is proven better, and by how many dB
# at least. Equal storage counts values alone: b bits against 16-bit weights at sparsity 1 - b/16.

# %%
by_layer = layer_pairs(pairs)
widths = sorted({pair.bits for pair in by_layer})
short = {"quantization": "Q", "pruning": "P", "undecided": "?"}
lines = [
    "| layer | " + " | ".join(f"{bits} bits" for bits in widths) + " |",
    "|:--" + "|--:" * len(widths) + "|",
]
for (source, layer), group in groupby(by_layer, key=lambda pair: (pair.source, pair.layer)):
    verdicts = {pair.bits: pair.verdict for pair in group}
    cells = [f"{short[verdicts[b].winner]} {verdicts[b].margin:+.1f}" for b in widths]
    lines.append(f"| {source} `{layer}` | " + " | ".join(cells) + " |")
display(Markdown("\n".join(lines) + "\n\nQ: quantization, P: pruning, ?: undecided; dB."))

# %%
won = Counter(pair.verdict.winner for pair in pairs)
margins = {bits: [p.verdict.margin for p in pairs if p.bits == bits] for bits in widths}
closest = min(pairs, key=lambda pair: pair.verdict.margin)
gap = {
    name: np.median([known(pair).snr_optimum - known(pair).snr_heuristic for pair in pairs])
    for name, known in (
        ("quantization", lambda p: p.quantization),
        ("pruning", lambda p: p.pruning),
    )
}
exceptions = len(pairs) - won["quantization"]
if exceptions == 0:
    finding = (
        "The paper's finding, that quantization is better at equal storage but for a few layers "
        "at high compression, holds, and without exceptions here"
    )
elif won["quantization"] > len(pairs) / 2:
    finding = (
        "The paper's finding, that quantization is better at equal storage but for a few layers "
        f"at high compression, holds with {won['pruning']} proven exceptions and "
        f"{won['undecided']} open cases"
    )
else:
    finding = "The paper's finding, that quantization is better at equal storage, does not hold"
display(
    Markdown(f"""
**In words.** Quantization is proven better in {won["quantization"]} of {len(pairs)} rectangles,
pruning in {won["pruning"]}; {won["undecided"]} are undecided. {finding}. The median lead is
{np.median(margins[widths[0]]):.1f} dB at {widths[0]} bits and
{np.median(margins[widths[-1]]):.1f} dB at {widths[-1]} bits; the closest case is
`{closest.source} {closest.layer}`, chunk {closest.chunk}, at {closest.bits} bits:
{closest.verdict.winner}, {closest.verdict.margin:+.1f} dB. The best method without search is, in
the median, {gap["quantization"]:.2f} dB from the optimum for quantization and
{gap["pruning"]:.2f} dB for pruning.
""")
)
