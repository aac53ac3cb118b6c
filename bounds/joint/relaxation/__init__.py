"""The dual with levels and a price for nonzeros: solved by a barrier, verified by us."""
