# %% [markdown]
# # One layer from a script
#
# A layer, its weights and the inputs it really sees: how well can it be quantized or pruned, and
# how close do fast methods come to the best there is? Every range below is proven; see the README
# for what is called a bound.

# %%
"""One layer from a script: proven ranges, and what fast methods leave on the table."""

import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import Markdown, display

from bounds import pruning_range, quantization_range
from bounds.problem.grid import choose_scale
from layers import dump_path, extract_layers, read_dump

SMALL = os.environ.get("LAYERBOUNDS_NOTEBOOK_SMALL") == "1"  # for the tests: seconds
DUMPS = Path("..") / "dumps"
BITS = (2, 4, 8) if SMALL else (2, 3, 4, 5, 6, 7, 8)
CHANNELS = 4 if SMALL else 32

plt.rcParams.update(
    {
        "figure.dpi": 120,
        "font.size": 8,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.color": "0.92",
        "legend.frameon": False,
    }
)

# %% [markdown]
# ## The layer
#
# An expansion of MobileNet-V2, a 1x1 convolution. Its weights and the Gram matrix of its inputs are
# captured once, on photographs, and kept in one file.

# %%
SOURCE, LAYER = "mobilenet-v2", "features.8.conv.0"
path = dump_path(DUMPS, SOURCE, LAYER)
if not path.exists():
    extract_layers(SOURCE, [LAYER], "bundled", DUMPS, heldout_count=6, limit=8 if SMALL else None)
dump = read_dump(path)
chunk = dump.chunks(36)[0]
weights = chunk.weights[:CHANNELS].astype(np.float16).astype(float)
channels, features = weights.shape
display(
    Markdown(
        f"`{dump.source}`, layer `{dump.layer}`: weights {dump.weight_shape}, "
        f"{chunk.rows:,} rows of inputs from {len(dump.images)} photographs. "
        f"Here its first {features} inputs and {channels} of {len(chunk.weights)} outputs."
    )
)

# %% [markdown]
# ## Ranges
#
# One call for each method. All return the same: per output channel a proven lower bound on the
# error, an error attained, and the weights that attain it.

# %%
QUANTIZERS = ("rtn", "gptq", "descent", "exact")
PRUNERS = ("magnitude", "magnitude-ls", "obs", "exact")
ranges = {}
for bits in BITS:
    step = choose_scale(weights, bits)
    keep = features * bits // 16  # equal storage in values: 16-bit weights, 1 - bits/16 of them 0
    for method in QUANTIZERS:
        ranges[method, bits] = quantization_range(
            chunk.gram, weights, bits=bits, scale=step, method=method
        )
    for method in PRUNERS:
        name = "exact pruning" if method == "exact" else method
        ranges[name, bits] = pruning_range(chunk.gram, weights, keep=keep, method=method)

lines = ["| bits | kept | quantization | pruning | proven optimal |", "|--:|--:|--:|--:|--:|"]
for bits in BITS:
    q, p = ranges["exact", bits], ranges["exact pruning", bits]
    lines.append(
        f"| {bits} | {features * bits // 16} of {features} | {q.snr_attained:.2f} dB "
        f"| {p.snr_attained:.2f} dB | {q.count('exact') + p.count('exact')} of {2 * channels} |"
    )
display(Markdown("\n".join(lines)))

# %% [markdown]
# ## What fast methods leave on the table

# %%
best = {"exact": "quantization", "exact pruning": "pruning"}
colours = {"exact": "#0072B2", "exact pruning": "#D55E00"}  # told apart by the colour-blind
shades = ("#000000", "#009E73", "#CC79A7")
markers = ("o", "s", "^")


def attained(method):
    """SNR in dB of a method at every bit width."""
    return np.array([ranges[method, bits].snr_attained for bits in BITS])


figure, (left, middle, right) = plt.subplots(1, 3, figsize=(8.4, 2.8), layout="constrained")
for method, name in best.items():
    left.plot(BITS, attained(method), ".-", color=colours[method], label=name)
left.set(xlabel="bits a weight", ylabel="best SNR, dB", title="the optimum")
left.legend()
for ax, methods, optimum in (
    (middle, QUANTIZERS[:-1], "exact"),
    (right, PRUNERS[:-1], "exact pruning"),
):
    for method, colour, marker in zip(methods, shades, markers, strict=True):
        loss = attained(optimum) - attained(method)
        ax.plot(BITS, loss, color=colour, marker=marker, markersize=4, label=method)
    worst = max(float((attained(optimum) - attained(m)).max()) for m in methods)
    ax.set(xlabel="bits a weight", ylabel="dB below the optimum", title=best[optimum])
    ax.set_ylim(0, 1.2 * worst)
    ax.legend(ncols=3, loc="upper center", columnspacing=0.7, handlelength=1.0, fontsize=7)
plt.show()

# %% [markdown]
# ## In words

# %%
gaps = {
    name: min(
        (float(np.max(attained(optimum) - attained(method))), method) for method in methods[:-1]
    )
    for name, optimum, methods in (
        ("quantization", "exact", QUANTIZERS),
        ("pruning", "exact pruning", PRUNERS),
    )
}
naive = {
    name: float(np.max(attained(optimum) - attained(method)))
    for name, optimum, method in (
        ("quantization", "exact", "rtn"),
        ("pruning", "exact pruning", "magnitude"),
    )
}
lead = {
    bits: ranges["exact", bits].snr_attained - ranges["exact pruning", bits].snr_bound
    for bits in BITS
}
wins = [lead[bits] for bits in BITS if lead[bits] > 0]
if len(wins) == len(BITS):
    finding = f"holds for this chunk at every bit width, by {min(wins):.1f} to {max(wins):.1f} dB"
elif wins:
    finding = f"holds for this chunk at {len(wins)} of {len(BITS)} bit widths"
else:
    finding = "does not hold for this chunk"
display(
    Markdown(f"""
- The paper's finding (Section 4), that at equal storage quantization has the smaller error,
  {finding}; that is proven, not just attained.
- The best fast method is never further than {gaps["quantization"][0]:.2f} dB from the optimum for
  quantization (`{gaps["quantization"][1]}`) and {gaps["pruning"][0]:.2f} dB for pruning
  (`{gaps["pruning"][1]}`).
- Ignoring the inputs costs more: rounding to nearest loses up to {naive["quantization"]:.1f} dB,
  pruning by magnitude up to {naive["pruning"]:.1f} dB.
""")
)
