"""Pruning: proven ranges for the best k-sparse weights of a layer."""

from bounds.pruning.solve import METHODS, pruning_range

__all__ = ["METHODS", "pruning_range"]
