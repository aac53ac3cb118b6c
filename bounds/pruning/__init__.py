"""Pruning: proven ranges for the best sparse weights of a layer."""
