"""Branch and bound over supports and levels."""
