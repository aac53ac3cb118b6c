"""The table of results, and what can be proven from it."""
