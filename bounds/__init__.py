"""Proven ranges for what quantization and pruning can achieve on a layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bounds.gap.checkpoints import judge_checkpoint
    from bounds.gap.formats.checkpoint import open_checkpoint
    from bounds.gap.whole import judge_layer
    from bounds.joint.outliers import outlier_range
    from bounds.joint.solve import joint_range
    from bounds.layer.budget import budget_range
    from bounds.layer.free_step import free_step_range
    from bounds.layer.of_inputs import layer_range
    from bounds.layer.volume import volume_bound
    from bounds.problem.answer import answer
    from bounds.problem.gram import check_problem
    from bounds.problem.grid import Grid, choose_scale
    from bounds.problem.joint import Joint
    from bounds.problem.methods import Method, register
    from bounds.problem.range import Range, snr
    from bounds.problem.rule import GridRule
    from bounds.problem.sparsity import Pattern, Sparse
    from bounds.pruning.solve import pruning_range
    from bounds.quantization.solve import quantization_range

__all__ = [
    "Grid",
    "GridRule",
    "Joint",
    "Method",
    "Pattern",
    "Range",
    "Sparse",
    "answer",
    "budget_range",
    "check_problem",
    "choose_scale",
    "free_step_range",
    "joint_range",
    "judge_checkpoint",
    "judge_layer",
    "layer_range",
    "open_checkpoint",
    "outlier_range",
    "pruning_range",
    "quantization_range",
    "register",
    "snr",
    "volume_bound",
]

_HOMES = {
    "Grid": "bounds.problem.grid",
    "GridRule": "bounds.problem.rule",
    "Joint": "bounds.problem.joint",
    "Method": "bounds.problem.methods",
    "Pattern": "bounds.problem.sparsity",
    "Range": "bounds.problem.range",
    "Sparse": "bounds.problem.sparsity",
    "answer": "bounds.problem.answer",
    "budget_range": "bounds.layer.budget",
    "check_problem": "bounds.problem.gram",
    "choose_scale": "bounds.problem.grid",
    "judge_checkpoint": "bounds.gap.checkpoints",
    "judge_layer": "bounds.gap.whole",
    "free_step_range": "bounds.layer.free_step",
    "joint_range": "bounds.joint.solve",
    "layer_range": "bounds.layer.of_inputs",
    "open_checkpoint": "bounds.gap.formats.checkpoint",
    "outlier_range": "bounds.joint.outliers",
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
