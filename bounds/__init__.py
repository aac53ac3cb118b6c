"""Proven ranges for what quantization and pruning can achieve on a layer."""

from bounds.pruning import pruning_range
from bounds.quantization import quantization_range
from bounds.result import Range, snr

__all__ = ["Range", "pruning_range", "quantization_range", "snr"]
