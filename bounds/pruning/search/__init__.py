"""The exact optimum by branch and bound, and bounds of unfinished searches."""
