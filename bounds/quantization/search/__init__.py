"""The exact optimum by enumeration, and bounds of unfinished searches."""
