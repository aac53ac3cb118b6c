"""Whole layers, any width: bounds that all channels share."""
