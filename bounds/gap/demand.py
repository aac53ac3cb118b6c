"""What compressed weights are held against: the grid they are on, or how many were kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bounds.errors import ProblemError
from bounds.gap.steps import find_grid, infer_steps, to_codes
from bounds.problem.constraint import Constraint
from bounds.problem.grid import RULES, Grid, check_scale, choose_scale, integer_range
from bounds.problem.joint import Joint
from bounds.problem.methods import JOINT, PRUNING, QUANTIZATION
from bounds.problem.rule import GridRule
from bounds.problem.sparsity import Pattern, Sparse

if TYPE_CHECKING:
    from layers.dump.file import Chunk

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Words for ``scale`` and ``keep``: taken from the solution itself.
INFER = "infer"
OWN = "own"
#: Word for ``scale``: as the rule of the grid has it.
RULE = "rule"

#: What a chunk is held against: the weights (channels, n) that are compared, how many things are
#: wrong per channel (channels,), and the constraint of some of its channels each.
Judgement = tuple[Floats, Ints, Sequence[tuple[Ints, Constraint]]]


@dataclass(frozen=True)
class OneStep:
    """On the grid of ``bits`` bits, with steps as ``rule`` says or (channels of the layer,)."""

    bits: int
    rule: str | None
    steps: Floats | None
    accuracy: float
    words: str
    problem: str = QUANTIZATION

    def judge(self, w: Floats, given: Floats, chunk: Chunk) -> Judgement:
        """Hold a chunk's ``given`` weights against it; ``w`` are the uncompressed ones."""
        if self.rule is not None:
            steps = check_scale(choose_scale(w, self.bits, self.rule), len(w))
        else:
            assert self.steps is not None
            steps = self.steps[chunk.channels]
        codes, on_grid = to_codes(given, steps, self.bits, self.accuracy)
        # On the grid but for rounding is on the grid: the codes are what the solution means.
        v = np.where(on_grid, steps[:, None] * codes, given)
        return v, (~on_grid).sum(axis=1), [(np.arange(len(w)), Grid.uniform(self.bits, steps))]


@dataclass(frozen=True)
class OnGrid:
    """On a grid of the whole layer, cut to every chunk."""

    grid: Grid
    features: int
    accuracy: float
    words: str
    problem: str = QUANTIZATION

    def judge(self, w: Floats, given: Floats, chunk: Chunk) -> Judgement:
        """Hold a chunk's ``given`` weights against it; ``w`` are the uncompressed ones."""
        grid = self.grid.rows(chunk.channels).columns(self.features, chunk.features)
        on_grid = grid.near(given, self.accuracy)
        # On the grid but for rounding is on the grid: the codes are what the solution means.
        v = np.where(on_grid, grid.values(grid.codes(given)), given)
        return v, (~on_grid).sum(axis=1), [(np.arange(len(w)), grid)]


@dataclass(frozen=True)
class Kept:
    """At most ``most`` nonzeros per channel in every chunk; None: as many as the solution has."""

    most: int | None
    words: str
    pattern: Pattern | None = None
    problem: str = PRUNING

    def judge(self, w: Floats, given: Floats, chunk: Chunk) -> Judgement:
        """Hold a chunk's ``given`` weights against it; ``w`` are the uncompressed ones."""
        if self.pattern is not None:
            self._check(chunk)
            wrong = ~self.pattern.fits(given)
            return given, wrong.astype(np.int64), [(np.arange(len(w)), self.pattern)]
        kept = (given != 0).sum(axis=1)
        most = kept if self.most is None else np.full(len(w), min(self.most, w.shape[1]))
        parts = [(np.flatnonzero(most == k), Sparse(int(k))) for k in np.unique(most)]
        return given, (kept > most).astype(np.int64), parts

    def _check(self, chunk: Chunk) -> None:
        assert self.pattern is not None
        if chunk.features.start % self.pattern.size:
            raise ProblemError(
                f"chunks begin at input {chunk.features.start}, in the middle of "
                f"{self.pattern.size} inputs; choose a chunk size that {self.pattern.size} divides"
            )


@dataclass(frozen=True)
class Both:
    """On a grid, and few enough nonzeros."""

    grid: OneStep | OnGrid
    kept: Kept
    problem: str = JOINT

    @property
    def words(self) -> str:
        """What is asked."""
        return f"{self.grid.words}; {self.kept.words}"

    def judge(self, w: Floats, given: Floats, chunk: Chunk) -> Judgement:
        """Hold a chunk's ``given`` weights against it; ``w`` are the uncompressed ones."""
        v, off, [(_, grid)] = self.grid.judge(w, given, chunk)
        _, many, parts = self.kept.judge(w, v, chunk)
        assert isinstance(grid, Grid)
        joint = [
            (where, Joint(grid.rows(where), few))  # type: ignore[arg-type]
            for where, few in parts
            if isinstance(few, Sparse | Pattern)
        ]
        return v, ((off > 0) | (many > 0)).astype(np.int64), joint


Demand = OneStep | OnGrid | Kept | Both


@dataclass(frozen=True)
class Asked:
    """What a user of ``gap`` wants the solution held against: a grid, few nonzeros, or both."""

    bits: int | None
    scale: str | ArrayLike
    grid: Grid | GridRule | str | None
    keep: int | str | None
    pattern: tuple[int, int] | None = None


def make_demand(asked: Asked, w: Floats, given: Floats, accuracy: float) -> Demand:
    """What the solution ``given`` for weights ``w`` (channels, n) is held against.

    Raises:
        ProblemError: nothing, or bits and a grid, or keep and a pattern; numbers out of range.
    """
    grids, fews = (asked.bits, asked.grid), (asked.keep, asked.pattern)
    counts = [sum(one is not None for one in some) for some in (grids, fews)]
    if max(counts) != 1:
        raise ProblemError(
            "give either bits or a grid, for quantization, or keep or a pattern, for pruning; one "
            "of each for weights that are both"
        )
    few = _kept(asked.keep, asked.pattern) if counts[1] else None
    if not counts[0]:
        assert few is not None
        return few
    on_grid = _gridded(asked, w, given, accuracy)
    return on_grid if few is None else Both(on_grid, few)


def _gridded(asked: Asked, w: Floats, given: Floats, accuracy: float) -> OneStep | OnGrid:
    if asked.grid is not None:
        return _on_grid(asked.grid, asked.scale, w, given, accuracy)
    assert asked.bits is not None
    return _one_step(asked.bits, asked.scale, given, accuracy)


def _one_step(bits: int, scale: str | ArrayLike, given: Floats, accuracy: float) -> OneStep:
    integer_range(bits)
    grid = f"{bits} bits, {2**bits} codes without zero point, "
    if isinstance(scale, str) and scale in RULES:
        return OneStep(
            bits, scale, None, accuracy, f"{grid}step by the rule {scale} in every chunk"
        )
    if isinstance(scale, str) and scale == INFER:
        steps = infer_steps(given, bits, accuracy)
        return OneStep(
            bits, None, steps, accuracy, f"{grid}step found in the solution, per channel"
        )
    if isinstance(scale, str):
        raise ProblemError(f"unknown scale {scale!r}; give {INFER}, {', '.join(RULES)}, or numbers")
    steps = check_scale(scale, len(given))
    told = f"step {steps[0]:.6g}" if np.ndim(scale) == 0 else "one given step per channel"
    return OneStep(bits, None, steps, accuracy, grid + told)


def _on_grid(
    grid: Grid | GridRule | str, scale: str | ArrayLike, w: Floats, given: Floats, accuracy: float
) -> OnGrid:
    """A grid given, found in the solution, or made from the layer's own weights (channels, n)."""
    if not isinstance(scale, str) or scale not in (INFER, RULE):
        raise ProblemError(f"with a grid, scale must be {INFER} or {RULE}, got {scale!r}")
    if isinstance(grid, str) and grid != INFER:
        grid = GridRule.parse(grid)
    if isinstance(grid, Grid):
        found, told = grid, "as given"
    elif isinstance(grid, str):
        found, told = find_grid(given, accuracy), "found in the solution"
    elif scale == RULE:
        found, told = grid.grid(w), "steps by the rule in the whole layer"
    else:
        found, told = find_grid(given, accuracy, [grid]), "steps found in the solution"
    found.check_shape(*w.shape)
    remarks = "".join(f" {remark}" for remark in found.remarks(w.shape[1]))
    return OnGrid(found, w.shape[1], accuracy, f"{found}, {told}.{remarks}".removesuffix("."))


def _kept(keep: int | str | None, pattern: tuple[int, int] | None) -> Kept:
    if pattern is not None:
        allowed = Pattern(*pattern)
        return Kept(None, f"{allowed} of every channel", allowed)
    if keep == OWN:
        return Kept(None, "as many nonzeros per channel in every chunk as the solution has")
    if isinstance(keep, bool) or not isinstance(keep, int | np.integer) or keep < 0:
        raise ProblemError(f"keep must be a whole number of weights or {OWN!r}, got {keep!r}")
    return Kept(int(keep), f"at most {keep} nonzeros per channel in every chunk")
