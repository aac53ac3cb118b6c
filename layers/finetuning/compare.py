"""Two networks side by side: how alike are the outputs of their layers on the same examples?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from layers.finetuning.cka import SMALLEST_BATCH, Cka
from layers.finetuning.examples import EVALUATION_BATCH, Part, batches


@dataclass(frozen=True)
class Likeness:
    """Of a layer's outputs, the first network's being the signal.

    Attributes:
        cka: unbiased linear CKA, minibatches of ``EVALUATION_BATCH``; NaN for constant outputs, or
            fewer than 4 examples.
        energy: squared norm of the first network's outputs, over all examples.
        error: squared norm of the difference.
    """

    cka: float
    energy: float
    error: float

    @property
    def snr(self) -> float:
        """``10 log10(energy / error)`` in dB; infinite without an error."""
        if self.error <= 0 or self.energy <= 0:
            return math.inf if self.energy > 0 else math.nan
        return 10 * math.log10(self.energy / self.error)


@torch.no_grad()
def compare(
    first: nn.Module, second: nn.Module, names: Sequence[str], part: Part, device: str = "cpu"
) -> dict[str, Likeness]:
    """How alike the named layers' outputs are, by layer.

    What differs before a layer differs in it too: this is the whole network's error as it has come
    to the layer, not the layer's own.

    Args:
        first, second: networks with the same layers; both run in evaluation mode.
        names: full names of layers.
        part: the examples; batches too small for CKA are left out.
        device: where both run.
    """
    cka = {name: Cka() for name in names}
    energy, error = dict.fromkeys(names, 0.0), dict.fromkeys(names, 0.0)
    first.to(device).eval()
    second.to(device).eval()
    seen = 0
    with _outputs(first, names) as ours, _outputs(second, names) as theirs:
        for x, _ in batches(part, device, EVALUATION_BATCH):
            if len(x) < SMALLEST_BATCH:
                continue
            first(x)
            second(x)
            seen += 1
            for name in names:
                a, b = ours[name].double(), theirs[name].double()
                cka[name].add(a.flatten(1), b.flatten(1))
                energy[name] += float(a.square().sum())
                error[name] += float((a - b).square().sum())
    return {
        name: Likeness(cka[name].value if seen else math.nan, energy[name], error[name])
        for name in names
    }


@contextmanager
def _outputs(network: nn.Module, names: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """What the named layers gave last, while the block lasts."""
    modules = dict(network.named_modules(remove_duplicate=False))
    found: dict[str, Tensor] = {}

    def keep(name: str):
        return lambda _module, _inputs, output: found.__setitem__(name, output.detach())

    hooks = [modules[name].register_forward_hook(keep(name)) for name in names]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()
