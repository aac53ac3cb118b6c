"""Proven ranges for what quantization and pruning can achieve on a layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bounds.pruning import pruning_range
    from bounds.quantization import quantization_range
    from bounds.result import Range, snr

__all__ = ["Range", "pruning_range", "quantization_range", "snr"]

_HOMES = {
    "Range": "bounds.result",
    "snr": "bounds.result",
    "pruning_range": "bounds.pruning",
    "quantization_range": "bounds.quantization",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: the solvers' compiled kernels load slowly."""
    if name not in _HOMES:
        raise AttributeError(f"module 'bounds' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
