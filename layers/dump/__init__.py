"""A layer on disk: weights, Gram matrices, provenance, chunks."""
