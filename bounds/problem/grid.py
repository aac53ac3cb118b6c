"""The quantization grid: levels times a step, one a channel or one for every group of inputs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bounds.errors import ProblemError
from bounds.problem import codebooks
from bounds.problem.choose import LINE_SEARCH_POINTS, RULES, choose_scale
from bounds.problem.codebooks import MAX_BITS, integer_range, integers
from bounds.problem.gram import Problem
from bounds.problem.methods import QUANTIZATION
from bounds.problem.points import grid_errors, near_codes, near_points
from bounds.problem.scaling import Scaling, find_scaling
from bounds.problem.steps import check_normal, check_scale, check_step, check_zeros, step_table
from bounds.problem.storage import VALUE_BITS, grid_bits

Floats = NDArray[np.float64]

#: Largest weight in units of the step; squares of larger ones overflow.
FARTHEST = 1e100


@dataclass(frozen=True, eq=False)
class Grid:
    """Levels times a step: ``v_i = step_g (level - zero_g)``, input ``i`` of group ``g``.

    Made by ``uniform``, ``codebook``, ``nf4``, ``fp4``, ``mxfp4``, ``nvfp4`` or ``ternary``, which
    check what they are given. Groups are consecutive inputs; the last may be shorter.

    Attributes:
        bits: width of a code.
        levels: (L,) ascending, common to all channels and inputs; integers in a uniform grid.
        step: (channels or 1, groups), positive; one group stands for all of them.
        zero: as ``step``, in units of the step.
        group_size: inputs of a group; None where all inputs of a channel are one.
        name: in a word, such as ``int4``.
        step_bits, zero_bits: width of a group's step and zero point in storage.
        tensor_bits: what is stored once for all weights.
    """

    bits: int
    levels: Floats
    step: Floats
    zero: Floats
    group_size: int | None = None
    name: str = ""
    step_bits: int = VALUE_BITS
    zero_bits: int = 0
    tensor_bits: int = 0
    kind: ClassVar[str] = QUANTIZATION

    @staticmethod
    def uniform(
        bits: int,
        step: ArrayLike,
        zero: ArrayLike = 0,
        group_size: int | None = None,
        *,
        signed: bool = True,
        real_zero: bool = False,
        step_bits: int = VALUE_BITS,
    ) -> Grid:
        """Integers of ``bits`` bits, less a zero point, times a step.

        Args:
            bits: 1 to 16.
            step: one for all, (channels,), or (channels or 1, groups).
            zero: zero points in the same shapes, integers among the codes.
            group_size: inputs of a group; None for one group. If it does not divide the inputs, the
                last group is shorter.
            signed: codes from -2^(b-1) to 2^(b-1)-1; otherwise from 0 to 2^b-1.
            real_zero: zero points may be any real number, as where a minimum is stored (Q4_K).
            step_bits: width of a stored step. A zero point is counted with the width of a code, or,
                if real, of a step.

        Raises:
            ProblemError: bits, steps, zero points or a group size out of range.
        """
        integer_range(bits)
        levels = integers(int(bits), signed)
        steps, zeros = step_table(step, zero, group_size)
        pointed = bool(zeros.any())
        if pointed:
            check_zeros(zeros, levels, real_zero)
        if pointed or steps.shape[1] > 1:
            check_normal(steps)
        return Grid(
            int(bits),
            levels,
            steps,
            zeros,
            codebooks.check_group_size(group_size),
            f"{'' if signed else 'u'}int{bits}",
            step_bits,
            (step_bits if real_zero else int(bits)) if pointed else 0,
        )

    @staticmethod
    def codebook(
        levels: ArrayLike,
        step: ArrayLike,
        group_size: int | None = None,
        *,
        bits: int | None = None,
        name: str = "codebook",
        step_bits: int = VALUE_BITS,
        tensor_bits: int = 0,
    ) -> Grid:
        """Any ascending levels times a step.

        Args:
            levels: (L,), 2 to 2^16 of them.
            step: one for all, (channels,), or (channels or 1, groups).
            group_size: inputs of a group; None for one group.
            bits: width of a code; as few as tell the levels apart unless given.
            name: what it is called.
            step_bits, tensor_bits: width of a stored step, and of what all weights share.

        Raises:
            ProblemError: levels that are unsorted, duplicate, too many or too close; steps or a
                group size out of range.
        """
        checked = codebooks.check_levels(levels)
        steps, zeros = step_table(step, 0.0, group_size)
        check_normal(steps)
        width = codebooks.check_code_bits(bits, checked)
        size = codebooks.check_group_size(group_size)
        return Grid(width, checked, steps, zeros, size, name, step_bits, 0, tensor_bits)

    @staticmethod
    def nf4(step: ArrayLike, group_size: int | None = 64, *, step_bits: int = 32) -> Grid:
        """NormalFloat of bitsandbytes; a step is the largest weight of its block, in size."""
        return Grid.codebook(codebooks.NF4, step, group_size, name="nf4", step_bits=step_bits)

    @staticmethod
    def fp4(step: ArrayLike, group_size: int | None = None, *, step_bits: int = VALUE_BITS) -> Grid:
        """Floating point of four bits (e2m1: 0, .5, 1, 1.5, 2, 3, 4, 6), any positive steps."""
        return Grid.codebook(codebooks.FP4, step, group_size, name="fp4", step_bits=step_bits)

    @staticmethod
    def mxfp4(step: ArrayLike) -> Grid:
        """OCP's MXFP4: e2m1 in blocks of 32, steps powers of two (ProblemError for others)."""
        size, width = codebooks.MX_BLOCK, codebooks.MX_STEP_BITS
        grid = Grid.codebook(codebooks.FP4, step, size, name="mxfp4", step_bits=width)
        codebooks.check_mx_steps(grid.step)
        return grid

    @staticmethod
    def nvfp4(step: ArrayLike, tensor: float = 1.0) -> Grid:
        """NVIDIA's NVFP4: e2m1 in blocks of 16.

        Args:
            step: of every block, an FP8 number (e4m3) in units of ``tensor``.
            tensor: a float32 for all weights; a block's true step is the product of the two.

        Raises:
            ProblemError: numbers that those formats do not hold.
        """
        tensor = check_step(tensor)
        grid = Grid.codebook(
            codebooks.FP4,
            step,
            codebooks.NV_BLOCK,
            name="nvfp4",
            step_bits=codebooks.NV_STEP_BITS,
            tensor_bits=codebooks.NV_TENSOR_BITS,
        )
        codebooks.check_nv_steps(grid.step, tensor)
        return replace(grid, step=grid.step * tensor)  # 4 times 24 digits: exact

    @staticmethod
    def ternary(step: ArrayLike, group_size: int | None = None) -> Grid:
        """-1, 0 and 1 times a step, in codes of two bits."""
        return Grid.codebook(codebooks.TERNARY, step, group_size, name="ternary")

    @property
    def lo(self) -> float:
        """First level."""
        return float(self.levels[0])

    @property
    def hi(self) -> float:
        """Last level."""
        return float(self.levels[-1])

    @property
    def uniform_levels(self) -> bool:
        """Whether the levels are consecutive integers."""
        return self.levels is integers(self.bits) or codebooks.is_uniform(self.levels)

    @property
    def symmetric(self) -> bool:
        """Whether there is no zero point but 0."""
        return not self.zero.any()

    @property
    def grouped(self) -> bool:
        """Whether a channel has more than one step or zero point."""
        return self.step.shape[1] > 1

    @property
    def shared(self) -> bool:
        """Whether all inputs of a channel have one step and no zero point: one Gram for all."""
        return self.symmetric and not self.grouped

    @property
    def asks(self) -> frozenset[str]:
        """What a method must be able to take."""
        signed = np.array_equal(self.levels, integers(self.bits))
        asked = {"groups": self.grouped, "zero": not self.symmetric, "levels": not signed}
        return frozenset(word for word, so in asked.items() if so)

    def steps(self, channels: int, features: int | None = None) -> Floats:
        """The steps (channels, features).

        Without ``features``, of a grid with one step a channel, (channels,).

        Raises:
            ProblemError: there is more than one step a channel, or not one for each group.
        """
        return self._spread(self.step, channels, features)

    def zeros(self, channels: int, features: int | None = None) -> Floats:
        """The zero points, as ``steps``."""
        return self._spread(self.zero, channels, features)

    def _spread(self, numbers: Floats, channels: int, features: int | None) -> Floats:
        if features is None:
            if self.grouped:
                raise ProblemError(f"{self} has no single step a channel; say for how many inputs")
            return np.broadcast_to(numbers[:, 0], (channels,)).copy()
        if self.grouped:
            assert self.group_size is not None
            self._check_groups(features)
            numbers = np.repeat(numbers, self.group_size, axis=1)[:, :features]
        return np.broadcast_to(numbers, (channels, features)).copy()

    def groups(self, features: int) -> int:
        """How many groups so many inputs have."""
        return 1 if self.group_size is None else -(-features // self.group_size)

    def _check_groups(self, features: int) -> None:
        groups = self.groups(features)
        if self.step.shape[1] not in (1, groups):
            raise ProblemError(
                f"{features} inputs in groups of {self.group_size} are {groups} groups, but there "
                f"are steps for {self.step.shape[1]}"
            )

    def remarks(self, features: int) -> tuple[str, ...]:
        """What a reader of results should know of the grid on so many inputs."""
        size = self.group_size
        if size is None or features % size == 0:
            return ()
        return (
            f"Groups of {size} do not divide {features} inputs: the last group has "
            f"{features % size}.",
        )

    def check_shape(self, channels: int, features: int) -> None:
        """Raise ProblemError where there are not steps for so many channels and inputs."""
        if self.step.shape[0] not in (1, channels):
            raise ProblemError(
                f"scale must be a positive number or one per channel ({channels},), "
                f"got {self.step.shape[0]} of them"
            )
        self._check_groups(features)

    def check(self, problem: Problem) -> None:
        """Raise ProblemError where steps and problem do not match, or a weight is out of reach."""
        self.check_shape(problem.channels, problem.features)
        steps = self.steps(problem.channels, problem.features)
        with np.errstate(over="ignore"):
            targets = (problem.weights / steps)[:, problem.live]
        if not (np.abs(targets) < FARTHEST).all():
            raise ProblemError(
                f"weights are over {FARTHEST:g} times the scale; choose a larger scale"
            )

    def scaling(self, problem: Problem) -> Scaling | None:
        """Units in which Gram and steps are near one, if they are far from it."""
        largest = np.broadcast_to(self.step.max(axis=1), (problem.channels,))
        return find_scaling(problem, largest)

    def scaled(self, scaling: Scaling) -> Grid:
        """The same grid in other units."""
        shape = (len(scaling.rows), self.step.shape[1])
        steps = scaling.scaled(np.broadcast_to(self.step, shape), "steps")
        return replace(self, step=steps, zero=np.broadcast_to(self.zero, shape).copy())

    def rows(self, rows: slice | NDArray[np.int64]) -> Grid:
        """The grid of some of the channels."""
        if self.step.shape[0] == 1:
            return self
        return replace(self, step=self.step[rows], zero=self.zero[rows])

    def columns(self, features: int, columns: slice) -> Grid:
        """The grid of consecutive inputs out of ``features``, groups cut where they must be.

        Where the inputs do not begin with a group, every input is a group of its own.
        """
        start, stop, _ = columns.indices(features)
        if not self.grouped:
            return self
        assert self.group_size is not None
        self._check_groups(features)
        if start % self.group_size == 0:
            some = slice(start // self.group_size, -(-stop // self.group_size))
            return replace(self, step=self.step[:, some], zero=self.zero[:, some])
        rows = self.step.shape[0]
        return replace(
            self,
            step=self.steps(rows, features)[:, start:stop],
            zero=self.zeros(rows, features)[:, start:stop],
            group_size=1,
        )

    def codes(self, solution: Floats) -> Floats:
        """Nearest levels (channels, n) of weights (channels, n)."""
        targets = solution / self.steps(*solution.shape)
        if not self.symmetric:
            targets += self.zeros(*solution.shape)
        return codebooks.nearest_level(targets, self.levels, self.uniform_levels)

    def values(self, codes: Floats) -> Floats:
        """Weights (channels, n) of codes (channels, n), rounded to float64."""
        apart = codes if self.symmetric else codes - self.zeros(*codes.shape)
        return apart * self.steps(*codes.shape)

    def errors(self, problem: Problem, solution: Floats) -> Floats:
        """Errors (channels,) of weights (channels, n) on the grid, rounded up.

        Codes times step may be no float64. The error is that of the grid point, as a bound on the
        grid needs it, or that of its product rounded to float64, as the weights are, whichever is
        larger: so both attain it.
        """
        live = problem.live
        gram = problem.gram[np.ix_(live, live)]
        codes, steps = self.codes(solution)[:, live], self.steps(*solution.shape)[:, live]
        zeros = None if self.symmetric else self.zeros(*solution.shape)[:, live]
        points = grid_errors(gram, problem.weights[:, live], codes, steps, zeros)
        return np.maximum(points, problem.errors(solution))

    def near(self, solution: Floats, accuracy: float = 0.0) -> NDArray[np.bool_]:
        """Which weights (channels, n) are on the grid, but for a relative ``accuracy``.

        A real zero point is taken to have been rounded in the file's precision, by itself.
        """
        steps, size = self.steps(*solution.shape), np.abs(solution)
        zeros = self.zeros(*solution.shape)
        size = np.where(zeros == np.rint(zeros), size, np.maximum(size, steps * np.abs(zeros)))
        return near_points(solution, self.values(self.codes(solution)), steps, size, accuracy)

    def fits(self, solution: Floats, accuracy: float = 0.0) -> NDArray[np.bool_]:
        """Which channels (channels,) lie on the grid, but for a relative ``accuracy``."""
        return np.asarray(self.near(solution, accuracy).all(axis=1))

    def bits_a_weight(self, features: int, account: str = "values", channels: int = 1) -> float:
        """Codes alone (``values``), or with the steps and zero points of so many inputs.

        What all channels share is spread over ``channels``.
        """
        if account == "values":
            return float(self.bits)
        alike = channels if self.step.shape[0] == 1 else 1
        each = (self.step_bits + self.zero_bits) / alike
        return grid_bits(self.bits, each, self.groups(features), features) + (
            self.tensor_bits / (features * channels)
        )

    def __str__(self) -> str:
        """In a few words."""
        if not self.asks:
            return f"{self.bits} bits, {2**self.bits} codes without zero point"
        size = "" if self.group_size is None else f" in groups of {self.group_size}"
        return f"{self.name}{size}{'' if self.symmetric else ' with zero points'}"


__all__ = [
    "FARTHEST",
    "LINE_SEARCH_POINTS",
    "MAX_BITS",
    "RULES",
    "Grid",
    "check_scale",
    "check_step",
    "choose_scale",
    "grid_errors",
    "integer_range",
    "near_codes",
    "near_points",
]
