"""Attack the solvers: random instances against optima known exactly by brute force."""

from bounds.fuzz.checks import Finding
from bounds.fuzz.instances import Instance, make_instance
from bounds.fuzz.run import FAST_METHODS, FuzzReport, check_instance, fuzz

__all__ = [
    "FAST_METHODS",
    "Finding",
    "FuzzReport",
    "Instance",
    "check_instance",
    "fuzz",
    "make_instance",
]
