"""Attack the solvers: random instances against optima known exactly by brute force."""

from bounds.fuzz.checks import Finding
from bounds.fuzz.instances import Instance, make_instance
from bounds.fuzz.run import FuzzReport, check_instance, fast_methods, fuzz

__all__ = [
    "Finding",
    "FuzzReport",
    "Instance",
    "check_instance",
    "fast_methods",
    "fuzz",
    "make_instance",
]
