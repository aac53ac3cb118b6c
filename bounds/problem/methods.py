"""The two problems as the study sees them: names, methods, and how many weights to keep."""

from __future__ import annotations

import math
from dataclasses import dataclass

from bounds.errors import MethodError, StudyError

QUANTIZATION = "quantization"
PRUNING = "pruning"
PROBLEMS = (QUANTIZATION, PRUNING)

#: Methods that search until nothing is left, given time; the others are their yardsticks.
SEARCHES = ("exact", "scip")
#: Methods whose result depends on the limits of the study, or on its seed; all others ignore them.
LIMITED = {QUANTIZATION: ("sdp-scs", "exact"), PRUNING: ("scip", "exact")}
SEEDED = {QUANTIZATION: ("park-boyd", "sdp-scs"), PRUNING: ()}


def methods(problem: str) -> tuple[str, ...]:
    """The methods of ``"quantization"`` or ``"pruning"``.

    Raises:
        MethodError: another word.
    """
    check_problem_name(problem)
    if problem == QUANTIZATION:
        from bounds.quantization.solve import METHODS
    else:
        from bounds.pruning.solve import METHODS
    return tuple(METHODS)


def check_problem_name(problem: str) -> None:
    """Refuse anything but the two problems.

    Raises:
        MethodError: another word.
    """
    if problem not in PROBLEMS:
        raise MethodError(f"unknown problem {problem!r}; choose from {', '.join(PROBLEMS)}")


@dataclass(frozen=True)
class Keep:
    """k = n b/16 and the whole numbers it is solved at, with the share each has in the result."""

    wanted: float
    parts: tuple[tuple[int, float], ...]

    @property
    def recorded(self) -> float:
        """The k that the results stand for; not whole only when interpolated."""
        return sum(k * share for k, share in self.parts)


def choose_keep(features: int, bits: int, rule: str) -> Keep:
    """How many of ``features`` weights to keep so that FP16 storage equals ``bits`` a weight.

    ``floor`` is what the paper's released code does and handicaps pruning; ``nearest`` rounds half
    up; ``interpolate`` mixes the errors at the two neighbouring k linearly.

    Raises:
        StudyError: unknown rule.
    """
    wanted = features * bits / 16
    low = math.floor(wanted)
    if rule == "floor":
        parts = ((low, 1.0),)
    elif rule == "nearest":
        parts = ((math.floor(wanted + 0.5), 1.0),)
    elif rule == "interpolate":
        share = wanted - low
        parts = ((low, 1.0 - share), (low + 1, share)) if share > 0 else ((low, 1.0),)
    else:
        raise StudyError(f"unknown rule {rule!r} for k; choose floor, nearest or interpolate")
    return Keep(wanted, parts)
