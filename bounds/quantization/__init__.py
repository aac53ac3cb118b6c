"""Quantization: proven ranges for the best codes of a layer on its grid."""
