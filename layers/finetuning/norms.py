"""Batch-norm statistics of a changed network, measured anew."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


@torch.no_grad()
def reestimate(network: nn.Module, batches: Iterable[Tensor]) -> None:
    """Replace running means and variances by their averages over ``batches``.

    Everything else runs as in evaluation, and the network is left in evaluation mode. A network
    without batch norm is left as it is, and ``batches`` is not read.

    Args:
        network: on the device of the batches.
        batches: inputs, all of one batch size (every batch counts the same).
    """
    norms = [m for m in network.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    network.eval()
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain average of what comes
        norm.train()
    try:
        for batch in batches:
            network(batch)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
            norm.eval()
