# %% [markdown]
# # Theory: what to expect from the distribution of the weights
#
# Section 3 of Kuzmin et al. 2023, *Pruning vs Quantization: Which is Better?*, computed anew: its
# Fig. 1 (normal weights) and Fig. 2 (weights with outliers). b bits are compared with the sparsity
# 1 - b/16 of 16-bit weights; errors are those of the weights, without inputs.

# %%
"""Theory: expected SNR of quantization and pruning for normal and heavy-tailed weights."""

import os

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import Markdown, display

from bounds.theory import (
    Density,
    Sample,
    optimal_step,
    pruning_error,
    pruning_snr,
    quantization_error,
    quantization_snr,
    quantize,
    sparsity_at_bits,
    sparsity_at_true_bits,
)

SMALL = os.environ.get("LAYERBOUNDS_NOTEBOOK_SMALL") == "1"  # for the tests: seconds
BITS = (2, 3, 4, 5, 6, 7, 8)
QUANTIZATION, PRUNING = "#0072B2", "#D55E00"  # told apart by the colour-blind

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
# ## Normal weights (Fig. 1)

# %%
normal = Density()
step, threshold = optimal_step(normal, 4), normal.threshold(sparsity_at_bits(4))
w = np.linspace(-4, 4, 2001)
squared = {
    "4 bits": (np.square(w - quantize(w, 4, step)), QUANTIZATION),
    "75% sparsity": (np.square(np.where(np.abs(w) < threshold, w, 0.0)), PRUNING),
}

figure, (left, middle, right) = plt.subplots(1, 3, figsize=(8.4, 2.7), layout="constrained")
left.plot(w, normal.pdf(w), color="0.2", linewidth=1)
left.fill_between(
    w,
    normal.pdf(w),
    where=(np.abs(w) < threshold).tolist(),
    color=PRUNING,
    alpha=0.3,
    linewidth=0,
    label="pruned to zero",
)
codes = step * np.arange(-8, 8)
left.vlines(codes, 0, normal.pdf(codes), color=QUANTIZATION, linewidth=1.4, label="16 codes")
left.set(xlabel="weight", ylabel="density", title="what is kept")
left.set_ylim(0, 0.52)
left.legend(ncols=2, loc="upper center", columnspacing=0.8, handlelength=1.2)
for name, (error, colour) in squared.items():
    middle.plot(w, error * normal.pdf(w), color=colour, linewidth=1, label=name)
middle.set(xlabel="weight", ylabel="squared error x density", title="where error arises")
middle.legend(loc="upper right")
for name, values, colour, marker in (
    ("quantization", [quantization_snr(normal, b) for b in BITS], QUANTIZATION, "o"),
    ("pruning", [pruning_snr(normal, sparsity_at_bits(b)) for b in BITS], PRUNING, "s"),
    (
        "pruning and its mask",
        [pruning_snr(normal, sparsity_at_true_bits(b)) for b in BITS],
        PRUNING,
        None,
    ),
):
    line = "-" if marker else ":"
    right.plot(
        BITS, values, line, color=colour, marker=marker, markersize=3.5, linewidth=1.2, label=name
    )
right.set(xlabel="bits a weight", ylabel="SNR, dB", title="expected SNR")
right.set_ylim(top=52)
right.legend(loc="upper left")
plt.show()

# %%
error = quantization_error(normal, 4, step)
sample = Sample(normal.sample(20_000 if SMALL else 1_000_000))
leads = [quantization_snr(normal, b) - pruning_snr(normal, sparsity_at_bits(b)) for b in BITS]
gains = np.diff([quantization_snr(normal, b) for b in (2, 3, 7, 8)])[[0, 2]]
q4, p4 = quantization_snr(normal, 4), pruning_snr(normal, 0.75)
outcome = "holds" if min(leads) > 0 else "does not hold"
display(
    Markdown(f"""
**In words.** At 4 bits the normal density gives {q4:.2f} dB (the paper: 19.1) against {p4:.2f} dB
(5.6) at 75% sparsity; a sample of {sample.values.size:,} weights gives
{quantization_snr(sample, 4, step):.2f} and {pruning_snr(sample, 0.75):.2f} dB. The best grid is
{step:.3f} standard deviations fine; {100 * error.clipping / error.total:.0f}% of its error is of
weights beyond its ends. The paper's finding, that quantization is better for normal weights at
every bit width, {outcome}: it leads by {min(leads):.1f} dB at {BITS[int(np.argmin(leads))]} bits
and {max(leads):.1f} dB at {BITS[int(np.argmax(leads))]}. Another bit is worth
{gains[0]:.2f} dB at 2 bits and {gains[1]:.2f} dB at 7, less than the
{20 * np.log10(2):.2f} dB of a fixed range, as a finer grid also has to reach further.
""")
)

# %% [markdown]
# ## Weights with outliers (Fig. 2)
#
# A Student-t density with 2 degrees of freedom, cut off at a limit: the further out the limit, the
# heavier the outliers and the higher the kurtosis. For comparison (dashed) the normal density, cut
# off nowhere.

# %%
limits = np.geomspace(2.0, 2000.0, 8 if SMALL else 41)
tails = [Density(dof=2, limit=float(limit)) for limit in limits]
kurtosis = np.array([tail.kurtosis for tail in tails])
quantized = np.array([[quantization_snr(tail, b) for b in BITS] for tail in tails])
pruned = np.array([[pruning_snr(tail, sparsity_at_bits(b)) for b in BITS] for tail in tails])
shades = plt.get_cmap("viridis")(np.linspace(0, 0.88, len(BITS)))

figure, (left, middle, right) = plt.subplots(1, 3, figsize=(8.4, 2.9), layout="constrained")
for ax, values, expected in (
    (left, quantized, [quantization_snr(normal, b) for b in BITS]),
    (middle, pruned, [pruning_snr(normal, sparsity_at_bits(b)) for b in BITS]),
):
    for index, bits in enumerate(BITS):
        ax.plot(kurtosis, values[:, index], color=shades[index], linewidth=1.2, label=f"{bits}")
        ax.axhline(expected[index], color=shades[index], linewidth=0.7, linestyle="--")
    ax.set(xscale="log", xlabel="kurtosis", ylim=(0, 1.05 * quantized.max()))
left.set(ylabel="SNR, dB", title="quantization")
middle.set(ylabel="SNR, dB", title="pruning")
middle.legend(title="bits", ncols=4, loc="upper center", columnspacing=0.8, handlelength=1.2)
difference = (quantized - pruned).T
extent = float(np.abs(difference).max())
mesh = right.pcolormesh(
    kurtosis, BITS, difference, cmap="PuOr", vmin=-extent, vmax=extent, shading="gouraud"
)
right.contour(kurtosis, BITS, difference, levels=[0.0], colors="black", linewidths=1)
right.set(xscale="log", xlabel="kurtosis", ylabel="bits a weight", title="who is better")
right.text(0.05, 0.9, "quantization", transform=right.transAxes, color="white")
right.text(0.95, 0.06, "pruning", transform=right.transAxes, ha="right", color="0.1")
right.grid(visible=False)
figure.colorbar(mesh, ax=right, label="quantization's lead, dB")
plt.show()


# %%
def crossover(index):
    """Kurtosis beyond which pruning is better at ``BITS[index]``; infinite if never."""
    ahead = quantized[:, index] >= pruned[:, index]
    if ahead.all():
        return float("inf")
    last = int(np.argmin(ahead))
    if last == 0:
        return float(kurtosis[0])
    x, y = np.log(kurtosis[last - 1 : last + 1]), (quantized - pruned)[last - 1 : last + 1, index]
    return float(np.exp(x[0] - y[0] * (x[1] - x[0]) / (y[1] - y[0])))


crossovers = [crossover(index) for index in range(len(BITS))]
rising = all(np.diff(crossovers) > 0)
i4, near, far = BITS.index(4), tails[0], tails[-1]
lost = {
    "quantization": [quantization_error(tail, 4).total for tail in (near, far)],
    "pruning": [pruning_error(tail, 0.75) for tail in (near, far)],
}
flat = pruning_error(tails[len(tails) // 2], 0.75) / lost["pruning"][1]
beyond = ", ".join(f"{k:.0f} at {b}" for b, k in zip(BITS, crossovers, strict=True))
agrees = "hold" if rising and quantized[-1, i4] < quantized[0, i4] else "do not hold"
display(
    Markdown(f"""
**In words.** From kurtosis {kurtosis[0]:.1f} to {kurtosis[-1]:.0f} the 4-bit error grows
{lost["quantization"][1] / lost["quantization"][0]:.0f}-fold, since the grid has to reach the
outliers, and its SNR falls from {quantized[0, i4]:.1f} to {quantized[-1, i4]:.1f} dB. What 75%
pruning drops are small weights, whatever the outliers: its error is the same to
{100 * abs(1 - flat):.1f}% from kurtosis {kurtosis[len(tails) // 2]:.0f} on, and as the energy
grows its SNR rises from {pruned[0, i4]:.1f} to {pruned[-1, i4]:.1f} dB. Pruning is better beyond a
kurtosis of {beyond} bits. The paper's findings, that outliers hurt quantization and not pruning,
and that they have to be the heavier the more bits there are, {agrees}. How heavy real weights are
is seen in `weights_survey`.
""")
)
