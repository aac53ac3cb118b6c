"""What is asked and what is answered: data, constraints, limits, ranges; no solver."""
