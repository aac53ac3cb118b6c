"""Proven ranges for what quantization and pruning can achieve on a layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bounds.problem.range import Range, snr
    from bounds.pruning.solve import pruning_range
    from bounds.quantization.solve import quantization_range

__all__ = ["Range", "pruning_range", "quantization_range", "snr"]

_HOMES = {
    "Range": "bounds.problem.range",
    "snr": "bounds.problem.range",
    "pruning_range": "bounds.pruning.solve",
    "quantization_range": "bounds.quantization.solve",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: the solvers' compiled kernels load slowly."""
    if name not in _HOMES:
        raise AttributeError(f"module 'bounds' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
