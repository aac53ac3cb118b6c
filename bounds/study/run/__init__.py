"""Tasks run: pools, clusters, files written as they finish."""
