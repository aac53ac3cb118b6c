# %% [markdown]
# # Fine-tuning: quantization and pruning with training
#
# The other half of the paper (Section 5): learned steps (LSQ) against gradual magnitude pruning at
# equal storage, from the same network. The task is small, 8 x 8 scans of digits; what is told below
# is computed from the results.

# %%
"""Fine-tuning: who wins at equal storage, and what training does to the layers."""

import os
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import Markdown, display

from bounds.finetune.running import run_finetune
from bounds.finetune.toml import load_finetune
from bounds.present.figures.finetuned import (
    accuracy_data,
    accuracy_panel,
    gap_panel,
    representation_data,
    representation_panel,
    scatter_panel,
    training_data,
)
from bounds.present.trained import accuracies
from bounds.results.finetuned import LAYERS, NETWORKS, read_finetuned

SMALL = os.environ.get("LAYERBOUNDS_NOTEBOOK_SMALL") == "1"  # for the tests: seconds
RESULTS = Path("..") / "results"

plt.rcParams.update({"figure.dpi": 120, "font.size": 8, "legend.frameon": False})

# %% [markdown]
# ## The study
#
# `layerbounds finetune` makes the results; without them they are made here.

# %%
study = load_finetune("finetune")
if SMALL:
    study = replace(
        study,
        bits=(2, 4),
        seeds=(1,),
        workers=1,
        pretrain=replace(study.pretrain, epochs=2),
        train=replace(study.train, epochs=1),
        quantization=replace(study.quantization, methods=("rtn",)),
        pruning=replace(study.pruning, methods=("magnitude",)),
        judge=replace(study.judge, bits=(2,), features=16),
    )
folder = RESULTS / study.name
if not (folder / LAYERS).exists():
    run_finetune(study, results=RESULTS)
networks, layers = read_finetuned(folder, NETWORKS), read_finetuned(folder, LAYERS)
known = accuracies(networks)
widths = sorted({bits for _, bits in known if bits is not None})
original = known["original", None]
display(
    Markdown(
        f"{len(networks)} networks, {original.count} seeds, {networks[0]['tests']} test examples; "
        f"the uncompressed network classifies {100 * original.mean:.1f}% of them."
    )
)

# %% [markdown]
# ## Who wins at equal storage?

# %%
figure, ax = plt.subplots(figsize=(5.4, 3.0), layout="constrained")
accuracy_panel(accuracy_data(networks), ax=ax)
ax.set(xlabel="bits a weight (storage of the values)", ylabel="test error, %")
ax.legend(ncols=2, fontsize=7)
plt.show()

# %% [markdown]
# ## Back to the original representation, or away from it?
#
# CKA and SNR of every layer's outputs to the original's, before training (open) and after (filled),
# at the smallest width.

# %%
records = [r for r in representation_data(networks, layers) if r["bits"] == widths[0]]
figure, axes = plt.subplots(1, 2, figsize=(7.4, 2.8), layout="constrained")
for ax, name, words in zip(axes, ("cka", "snr"), ("CKA", "SNR of outputs, dB"), strict=True):
    representation_panel(records, name, ax=ax)
    ax.set(xlabel="layer", ylabel=words)
axes[0].legend(fontsize=7)
plt.show()

# %% [markdown]
# ## And the bounds?
#
# Left: how far below the proven bound of the original layer's problem the weights are, on the same
# grid or with as many nonzeros. Right: the network's error against the layer-wise SNR.

# %%
records = training_data(networks, layers)
figure, axes = plt.subplots(1, 2, figsize=(7.4, 2.8), layout="constrained")
gap_panel(records, ax=axes[0])
axes[0].set(xlabel="bits a weight", ylabel="dB below the bound (median over layers)")
scatter_panel(records, ax=axes[1])
axes[1].set(xlabel="layer-wise SNR, dB", ylabel="test error, %")
axes[1].legend(fontsize=6, ncols=2)
plt.show()

# %% [markdown]
# ## In words


# %%
def moved(column, before, after, bits):
    """Median over layers and seeds of what training adds to a column."""
    values = {
        m: {
            (r["seed"], r["layer"]): r[column]
            for r in layers
            if (r["method"], r["bits"]) == (m, bits)
        }
        for m in (before, after)
    }
    return float(np.median([values[after][k] - values[before][k] for k in values[after]]))


wins = [b for b in widths if known["qat", b].mean > known["gradual", b].mean]
ties = [b for b in widths if known["qat", b].mean == known["gradual", b].mean]
low, high = widths[0], widths[-1]
sentences = []
for before, after, name in (("rtn", "qat", "quantization"), ("one-shot", "gradual", "pruning")):
    parts = [
        f"at {b} bits by {moved('cka', before, after, b):+.3f} in CKA and "
        f"{moved('output_snr', before, after, b):+.1f} dB"
        for b in dict.fromkeys((low, high))
    ]
    sentences.append(f"{name} {' and '.join(parts)}")
gaps = {
    m: np.median([r["gap"] for r in records if r["method"] == m and np.isfinite(r["gap"])])
    for m in dict.fromkeys(r["method"] for r in records)
    if any(r["method"] == m and np.isfinite(r["gap"]) for r in records)
}
told = ", ".join(f"`{m}` {gap:.1f} dB" for m, gap in gaps.items())
display(
    Markdown(f"""
- The paper's finding (Section 5), that quantization wins at equal compression after training but
  for extreme cases: quantization is ahead at {len(wins)} of {len(widths)} widths
  ({len(ties)} ties); at {low} bits {100 * known["qat", low].mean:.1f}% against
  {100 * known["gradual", low].mean:.1f}%, at {high} bits {100 * known["qat", high].mean:.1f}%
  against {100 * known["gradual", high].mean:.1f}%.
- The paper's finding that training brings pruned networks back to the original representation and
  takes quantized ones away from it: training moves (median over layers) {"; ".join(sentences)}.
- Below the bound of the original layer's problem (median over layers): {told}. Training leaves the
  layer-wise problem: its weights are no better there, though the network is.
""")
)
