"""Weights that practical methods reach: attained errors, no proof."""
