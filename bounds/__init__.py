"""Proven ranges for what quantization and pruning can achieve on a layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bounds.layer.of_inputs import layer_range
    from bounds.layer.volume import volume_bound
    from bounds.problem.answer import answer
    from bounds.problem.gram import check_problem
    from bounds.problem.grid import Grid, choose_scale
    from bounds.problem.methods import Method, register
    from bounds.problem.range import Range, snr
    from bounds.problem.rule import GridRule
    from bounds.problem.sparsity import Pattern, Sparse
    from bounds.pruning.solve import pruning_range
    from bounds.quantization.solve import quantization_range

__all__ = [
    "Grid",
    "GridRule",
    "Method",
    "Pattern",
    "Range",
    "Sparse",
    "answer",
    "check_problem",
    "choose_scale",
    "layer_range",
    "pruning_range",
    "quantization_range",
    "register",
    "snr",
    "volume_bound",
]

_HOMES = {
    "Grid": "bounds.problem.grid",
    "GridRule": "bounds.problem.rule",
    "Method": "bounds.problem.methods",
    "Pattern": "bounds.problem.sparsity",
    "Range": "bounds.problem.range",
    "Sparse": "bounds.problem.sparsity",
    "answer": "bounds.problem.answer",
    "check_problem": "bounds.problem.gram",
    "choose_scale": "bounds.problem.grid",
    "layer_range": "bounds.layer.of_inputs",
    "pruning_range": "bounds.pruning.solve",
    "quantization_range": "bounds.quantization.solve",
    "register": "bounds.problem.methods",
    "snr": "bounds.problem.range",
    "volume_bound": "bounds.layer.volume",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: the solvers' compiled kernels load slowly."""
    if name not in _HOMES:
        raise AttributeError(f"module 'bounds' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
