"""Which layers of a network are compressed, and why some cannot be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

import torch
from torch import Tensor, nn

from layers.errors import FinetuneError

SUPPORTED = (nn.Conv2d, nn.Linear)


def find_targets(
    network: nn.Module, example: Tensor, skip: Collection[str] = ()
) -> dict[str, nn.Module]:
    """Every Conv2d and Linear that runs once in a forward pass, by its full name.

    Args:
        network: in any mode, which it keeps.
        example: a batch of inputs, to see which layers run.
        skip: full names of layers that stay as they are.

    Raises:
        FinetuneError: an unknown name in ``skip``, a layer or weight in two places or used twice, a
            network that does not take the example, or nothing to compress.
    """
    every = dict(network.named_modules(remove_duplicate=False))
    layers: dict[str, nn.Module] = {
        name: m for name, m in every.items() if isinstance(m, SUPPORTED)
    }
    for name in skip:
        if name not in layers:
            raise FinetuneError(
                f"there is no layer {name!r} to skip; the layers are {', '.join(layers)}"
            )
    wanted = {name: m for name, m in layers.items() if name not in skip}
    _refuse_shared(wanted, layers)
    fired = _fired(network, wanted, example)
    for name, module in wanted.items():
        if fired[module] > 1:
            raise FinetuneError(
                f"layer {name!r} runs {fired[module]} times in one forward pass, so it is "
                "shared by several places of the network; skip it, or give each its own layer"
            )
    found = {name: module for name, module in wanted.items() if fired[module]}
    if not found:
        raise FinetuneError(
            f"{type(network).__name__} has no Conv2d or Linear layer that runs and is not skipped"
        )
    return found


def _refuse_shared(wanted: dict[str, nn.Module], layers: dict[str, nn.Module]) -> None:
    """Refuse a layer, or a weight, that stands in two places; skipped places count."""
    seen: dict[int, str] = {}
    for name, module in layers.items():
        for thing in (id(module), id(module.weight)):
            other = seen.setdefault(thing, name)
            if other != name and (name in wanted or other in wanted):
                raise FinetuneError(
                    f"layers {other!r} and {name!r} share their weight, so that one step or mask "
                    "would serve two problems; skip both, or give each its own weight"
                )


def _fired(network: nn.Module, layers: dict[str, nn.Module], example: Tensor) -> Counter[nn.Module]:
    """How often each layer runs in one forward pass."""
    fired: Counter[nn.Module] = Counter()
    hooks = [
        module.register_forward_hook(lambda m, _x, _y: fired.update([m]))
        for module in layers.values()
    ]
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        with torch.no_grad():
            network(example)
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        text = " ".join(str(error).split())[:300]
        raise FinetuneError(
            f"{type(network).__name__} does not take inputs of shape {tuple(example.shape[1:])}: "
            f"{text}; give data that fits the network"
        ) from error
    finally:
        for hook in hooks:
            hook.remove()
        for module, training in modes.items():
            module.training = training
    return fired
