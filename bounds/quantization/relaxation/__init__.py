"""Lower bounds from duals, verified in our own arithmetic."""
