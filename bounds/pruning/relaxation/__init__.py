"""The perspective relaxation and its dual, verified."""
