"""Somebody else's compressed weights, held against what is proven."""
