"""At most k nonzeros, all on a grid: ranges by heuristics, relaxation and search."""
