"""What must hold of a range whatever the data: each broken statement becomes a finding."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from bounds.fuzz.instances import Instance
from bounds.fuzz.optima import (
    GridOptimum,
    all_points,
    boxed_witness,
    grid_optimum,
    sparse_witness,
    supports,
)
from bounds.fuzz.rational import ExactForm, NotSemidefinite
from bounds.problem.range import CERTIFIED, ENERGY_FLOOR, EXACT, HEURISTIC, TOLERANCE, Range

#: Pruning bounds on singular Grams hold inside this region only, and say so in a note.
REACH = 100.0
#: An attained error may be rounded up by this share of itself, and of the floor.
UPPER_SLACK = 1e-9


@dataclass(frozen=True)
class Finding:
    """One broken statement.

    Attributes:
        rule: what was broken, such as ``"lower > optimum"``.
        method: the method, with its options if any.
        excess: how far beyond, relative to the optimum; infinite where there is no number.
        serious: beyond the stated tolerance (1e-9 relative, 1e-13 of the energy), not rounding.
        detail: the numbers.
    """

    rule: str
    method: str
    problem: str
    seed: int
    index: int
    channel: int
    kind: str
    excess: float
    serious: bool
    detail: str

    def __str__(self) -> str:
        """One line, with what reproduces it."""
        weight = "" if self.serious else " (within tolerance)"
        return (
            f"{self.rule}{weight}: {self.method} on {self.problem} seed {self.seed} "
            f"index {self.index} channel {self.channel} [{self.kind}]: {self.detail}"
        )


def finding(
    instance: Instance,
    method: str,
    rule: str,
    detail: str,
    *,
    channel: int = -1,
    excess: float = float("inf"),
    serious: bool = True,
) -> Finding:
    """A finding about ``instance``."""
    return Finding(
        rule, method, instance.problem, instance.seed, instance.index, channel, instance.kind,
        excess, serious, detail,
    )  # fmt: skip


class Truth:
    """What is known exactly of one instance, worked out once for all methods."""

    def __init__(self, instance: Instance) -> None:
        """Enumerate; for pruning ``optimum`` is None where the doubles are not semidefinite."""
        self.instance = instance
        self.live = np.diag(instance.gram) > 0
        self.forms = [ExactForm(instance.gram, w) for w in instance.weights]
        self.energy = [max(form.energy(), Fraction(0)) for form in self.forms]
        self.floor = [Fraction(ENERGY_FLOOR) * energy for energy in self.energy]
        self.grid: list[GridOptimum] = []
        self.sparse: list[Fraction | None] = []
        self._attained: dict[tuple[int, bytes], Fraction | str] = {}
        for c, form in enumerate(self.forms):
            if instance.problem != "pruning":
                self.grid.append(self._grid_optimum(c))
            else:
                keep, every = instance.pattern or (instance.keep, None)
                try:
                    self.sparse.append(form.sparse_optimum(keep, every))
                except NotSemidefinite:
                    self.sparse.append(None)

    def _grid_optimum(self, c: int) -> GridOptimum:
        instance, live = self.instance, self.live
        if not live.any():
            live = np.arange(len(live)) == 0
        gram, weights = instance.gram[np.ix_(live, live)], instance.weights[c, live]
        form = ExactForm(gram, weights)
        points = instance.points(c).live(live)
        chosen = all_points(tuple(points.levels.tolist()), len(weights))
        if instance.problem == "joint":
            most, size = instance.pattern or (instance.keep, instance.weights.shape[1])
            group = np.flatnonzero(live) // size
            counts = [(chosen[:, group == g] != 0).sum(axis=1) for g in np.unique(group)]
            chosen = chosen[np.max(counts, axis=0) <= most]
        return grid_optimum(form, gram, weights, points, chosen)

    def is_above(self, c: int, value: float) -> bool:
        """Whether the optimum of channel ``c`` is at least ``value``."""
        if self.grid:
            return self.grid[c].is_above(value)
        optimum = self.sparse[c]
        return optimum is not None and Fraction(value) <= optimum

    def optimum(self, c: int) -> Fraction | None:
        """The optimum of channel ``c``, not below zero; None if there is none."""
        best = self.grid[c].exact() if self.grid else self.sparse[c]
        return None if best is None else max(best, Fraction(0))

    def attained(self, c: int, weights: NDArray[np.float64]) -> Fraction | str:
        """The exact error of the solution that ``weights`` (n,) stand for, or why it is none."""
        # Most methods end at the same few solutions.
        key = (c, weights.tobytes())
        if key not in self._attained:
            self._attained[key] = self._evaluate(c, weights)
        return self._attained[key]

    def _evaluate(self, c: int, weights: NDArray[np.float64]) -> Fraction | str:
        instance = self.instance
        if not np.isfinite(weights).all():
            return "weights are not finite"
        if instance.problem != "quantization":
            most, size = instance.pattern or (instance.keep, len(weights))
            counts = [np.count_nonzero(weights[i : i + size]) for i in range(0, len(weights), size)]
            if max(counts) > most:
                return f"{counts} nonzeros, {most} of every {size} allowed"
            if instance.problem == "pruning":
                return self.forms[c].error(weights)
        points, row = instance.points(c), weights[None, :]
        grid = instance.asked.rows(slice(c, c + 1))
        levels = grid.codes(row)
        if not np.array_equal(grid.values(levels), row):
            return f"weights are not on the grid {grid}: {weights.tolist()}"
        return self.forms[c].point_error(levels[0], points.steps, points.zeros)

    def boxed(self, c: int, factor: float) -> tuple[Fraction, tuple[float, float]]:
        """An error attained inside the box of ``factor``, near the least one, and that box."""
        instance = self.instance
        low = -factor * max(0.0, -float(instance.weights.min()))
        high = factor * max(0.0, float(instance.weights.max()))
        n = len(instance.gram)
        chosen = list(supports(n, instance.keep, instance.pattern))
        masks = np.zeros((len(chosen), n), bool)
        for row, support in enumerate(chosen):
            masks[row, list(support)] = True
        w = instance.weights[c]
        tried = boxed_witness(instance.gram, w, masks, low, high)
        errors = (((tried - w) @ instance.gram) * (tried - w)).sum(axis=1)
        best = np.argsort(errors)[:3]
        return min(self.forms[c].error(tried[i]) for i in best), (low, high)


def check_range(
    truth: Truth,
    found: Range,
    method: str,
    tolerance: float = TOLERANCE,
    box: float | None = None,
) -> Iterator[Finding]:
    """Every statement of ``found`` against the truth; ``box`` is the factor it was pruned with."""
    instance = truth.instance
    channels, n = instance.weights.shape
    shapes = (found.lower.shape, found.upper.shape, found.energy.shape, found.weights.shape)
    if shapes != ((channels,), (channels,), (channels,), (channels, n)):
        yield finding(instance, method, "shape", f"{shapes}")
        return
    snr = found.snr_bound, found.snr_attained
    if (found.energy > 0).any() and not snr[0] >= snr[1] - 1e-9:
        yield finding(instance, method, "snr", f"bound {snr[0]} dB, attained {snr[1]} dB")
    for c in range(channels):
        yield from _check_channel(truth, found, method, tolerance, box, c)


def _check_channel(
    truth: Truth, found: Range, method: str, tolerance: float, box: float | None, c: int
) -> Iterator[Finding]:
    instance = truth.instance
    lower, upper, energy = (float(v[c]) for v in (found.lower, found.upper, found.energy))
    status = str(found.status[c])
    numbers = f"lower {lower!r} upper {upper!r} energy {energy!r} status {status}"

    def broken(rule: str, detail: str = "", excess: float = float("inf"), serious: bool = True):
        text = f"{detail} {numbers}".strip()
        return finding(instance, method, rule, text, channel=c, excess=excess, serious=serious)

    if not (np.isfinite([lower, upper, energy]).all() and 0 <= lower <= upper and energy >= 0):
        yield broken("numbers")
        return
    floor = truth.floor[c]
    attained = truth.attained(c, found.weights[c])
    if isinstance(attained, str):
        yield broken("infeasible weights", attained)
        return
    true = float(truth.energy[c])
    if abs(energy - true) > 1e-12 * true:
        noise = _noise(truth, c, found.weights[c])
        if abs(Fraction(energy) - truth.energy[c]) > truth.energy[c] / 10**9 + noise:
            yield broken("energy", f"true {true!r}")
    near = float(attained)
    # A double above the nearest one to the attained error is above the error itself.
    if upper <= near and Fraction(upper) < attained:
        excess = float((attained - Fraction(upper)) / attained)
        serious = attained > Fraction(upper) * (1 + Fraction(TOLERANCE)) + floor
        yield broken("upper < attained", f"attained {near!r}", excess, serious)
    loose = (1 + UPPER_SLACK) * max(near, 0.0)
    if upper > loose and upper > loose + float(floor + _noise(truth, c, found.weights[c])):
        yield broken("upper loose", f"attained {near!r}", serious=False)
    if box is not None:
        witness, (low, high) = truth.boxed(c, box)
        witness = max(witness, Fraction(0))  # doubles may be a little indefinite
        if not ((found.weights[c] >= low) & (found.weights[c] <= high)).all():
            yield broken("infeasible weights", f"outside the box {low!r} to {high!r}")
        if Fraction(lower) > witness:
            excess = float(Fraction(lower) / witness - 1) if witness > 0 else float("inf")
            serious = Fraction(lower) > witness * (1 + Fraction(TOLERANCE)) + floor
            yield broken("lower > witness", f"attained {float(witness)!r}", excess, serious)
    elif lower > 0 and not truth.is_above(c, lower):
        yield from _check_lower(truth, found, c, lower, floor, broken)
    yield from _check_status(found, c, method, tolerance, broken)


def _noise(truth: Truth, c: int, weights: NDArray[np.float64]) -> Fraction:
    """What rounding one double of each weight is worth: doubles cannot say more."""
    instance = truth.instance
    size = float(np.abs([instance.weights[c], weights]).max(initial=0.0))
    if instance.problem != "pruning":
        size = max(size, float(instance.points(c).farthest.max()))
    top = float(np.diag(instance.gram).max(initial=0.0))
    n = len(instance.gram)
    return Fraction(size) ** 2 * Fraction(top) * n * n / 10**16 + Fraction(1, 10**300)


def _check_lower(
    truth: Truth, found: Range, c: int, lower: float, floor: Fraction, broken
) -> Iterator[Finding]:
    """``lower`` exceeds the optimum, or there is none: say by how much and whether it matters."""
    instance = truth.instance
    optimum = truth.optimum(c)
    if optimum is None:
        witness, vector = sparse_witness(
            instance.gram, instance.weights[c], instance.keep, instance.pattern, REACH
        )
        if lower > witness:
            true = float(truth.forms[c].error(vector))
            excess = lower / float(witness) - 1 if witness > 0 else float("inf")
            serious = Fraction(lower) > Fraction(float(witness)) * (1 + Fraction(TOLERANCE)) + floor
            yield broken("lower > witness", f"attained {true!r}", excess, serious)
    elif Fraction(lower) > optimum:
        excess = float(Fraction(lower) / optimum - 1) if optimum > 0 else float("inf")
        serious = Fraction(lower) > optimum * (1 + Fraction(TOLERANCE)) + floor
        yield broken("lower > optimum", f"optimum {float(optimum)!r}", excess, serious)


def _check_status(found: Range, c: int, method: str, tolerance: float, broken) -> Iterator[Finding]:
    lower, upper, energy = float(found.lower[c]), float(found.upper[c]), float(found.energy[c])
    status = str(found.status[c])
    if status not in (EXACT, CERTIFIED, HEURISTIC):
        yield broken("status", "unknown")
    gap = upper - lower
    if status == EXACT and gap > max(tolerance * upper, ENERGY_FLOOR * energy) * (1 + 1e-12):
        yield broken("status", f"exact with a gap of {gap!r}")
    if status == CERTIFIED and not lower > 0:
        yield broken("status", "certified without a bound")
    if status == HEURISTIC and lower > 0:
        yield broken("status", "heuristic with a bound")
    if found.nodes[c] < 0:
        yield broken("nodes", f"{found.nodes[c]}")
