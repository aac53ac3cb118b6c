"""A grid as it is asked for before there are weights: ``int4-g128``, ``nf4``, ``mxfp4-mse``.

The words are those of compressed-tensors (``QuantizationArgs``): num_bits, symmetric, strategy,
group_size, observer, scale_dtype.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from bounds.errors import ProblemError
from bounds.problem import codebooks
from bounds.problem.checks import finite_array
from bounds.problem.choose import (
    STEP_BITS,
    Steps,
    in_blocks,
    mx_steps,
    nv_steps,
    pointed_steps,
    symmetric_steps,
)
from bounds.problem.codebooks import integer_range, integers
from bounds.problem.grid import Grid

STRATEGIES = ("tensor", "channel", "group")
OBSERVERS = ("minmax", "mse")
_CODEBOOKS = {
    "nf4": codebooks.NF4,
    "fp4": codebooks.FP4,
    "mxfp4": codebooks.FP4,
    "nvfp4": codebooks.FP4,
    "ternary": codebooks.TERNARY,
}
FORMATS = ("int", *_CODEBOOKS)
#: Inputs of a group, where the format has a usual or, of the last two, a fixed one.
_GROUPS = {"nf4": 64, "mxfp4": codebooks.MX_BLOCK, "nvfp4": codebooks.NV_BLOCK}
_FIXED = ("mxfp4", "nvfp4")
_DTYPES = {"fp16": "float16", "bf16": "bfloat16", "fp32": "float32"}
_SPELLING = (
    "such as int4-g128, int8-channel, int4-g32-asym-mse, nf4, fp4-g32, mxfp4, nvfp4 or ternary"
)


@dataclass(frozen=True)
class GridRule:
    """How a grid is made from weights. As text: ``FORMAT[BITS][-OPTION]...``.

    Attributes:
        format: ``int``, ``nf4``, ``fp4``, ``mxfp4``, ``nvfp4`` or ``ternary``.
        num_bits: 1 to 16 for integers, 4 unless given; the others have their own.
        symmetric: no zero points (option ``asym``: integer ones).
        strategy: what shares a step: ``tensor``, ``channel`` or ``group``; as options ``tensor``,
            ``channel`` and, for groups of 128 inputs, ``g128``. A channel unless given, but in
            formats with blocks: nf4 (64), mxfp4 (32), nvfp4 (16).
        group_size: inputs of a group.
        observer: ``minmax`` clips nothing (the largest weight of a block decides, as in the tools
            of nf4; the rules of their standards for mxfp4 and nvfp4); ``mse`` searches the step of
            least squared error. Option ``mse``.
        scale_dtype: what steps are rounded to and counted as: ``float16``, ``bfloat16`` or
            ``float32`` (options ``fp16``, ``bf16``, ``fp32``); FP16 unless given, FP32 in nf4. The
            last two formats have their own.

    Raises:
        ProblemError: words or numbers that make no grid.
    """

    format: str = "int"
    num_bits: int | None = None
    symmetric: bool = True
    strategy: str | None = None
    group_size: int | None = None
    observer: str = "minmax"
    scale_dtype: str | None = None

    def __post_init__(self) -> None:
        """Fill in what follows from the format, and refuse what cannot be."""
        _one_of("format", self.format, FORMATS)
        _one_of("observer", self.observer, OBSERVERS)
        if not isinstance(self.symmetric, bool):
            raise ProblemError(f"symmetric must be true or false, got {self.symmetric!r}")
        size = codebooks.check_group_size(self.group_size)
        if size is None and self.strategy in (None, "group"):
            size = _GROUPS.get(self.format)
        strategy = self.strategy or ("channel" if size is None else "group")
        _one_of("strategy", strategy, STRATEGIES)
        if (strategy == "group") != (size is not None):
            raise ProblemError(
                f"a group_size is for strategy group, which needs one; got {size} with {strategy}"
            )
        if self.format in _FIXED and size != _GROUPS[self.format]:
            raise ProblemError(f"{self.format} has blocks of {_GROUPS[self.format]} inputs")
        if self.format in _FIXED and self.scale_dtype is not None:
            raise ProblemError(f"{self.format} has steps of its own format; give no scale_dtype")
        if not (self.symmetric or self.format == "int"):
            raise ProblemError(f"{self.format} has no zero points; give int to have them")
        dtype = self.scale_dtype
        if dtype is None and self.format not in _FIXED:
            dtype = "float32" if self.format == "nf4" else "float16"
        if dtype is not None:
            _one_of("scale_dtype", dtype, tuple(STEP_BITS))
        derived = {
            "num_bits": self._bits(), "strategy": strategy, "group_size": size, "scale_dtype": dtype
        }  # fmt: skip
        for name, value in derived.items():
            object.__setattr__(self, name, value)

    def _bits(self) -> int:
        if self.format == "int":
            bits = 4 if self.num_bits is None else self.num_bits
            integer_range(bits)
            return int(bits)
        own = codebooks.least_bits(np.array(_CODEBOOKS[self.format]))
        if self.num_bits not in (None, own):
            raise ProblemError(f"{self.format} has {own} bits, not {self.num_bits!r}")
        return own

    @staticmethod
    def parse(text: str) -> GridRule:
        """The rule that ``text`` spells.

        Raises:
            ProblemError: it spells none.
        """
        head, *options = str(text).lower().split("-")
        named = re.fullmatch(rf"({'|'.join(map(re.escape, _CODEBOOKS))})|int(\d{{1,2}})?", head)
        if named is None:
            raise ProblemError(f"unknown grid {text!r}; give one {_SPELLING}")
        chosen: dict[str, object] = {"format": named[1] or "int"}
        if named[2]:
            chosen["num_bits"] = int(named[2])
        for option in options:
            key, value = _option(option, text)
            if key in chosen:
                raise ProblemError(f"grid {text!r} says {option!r} after another {key}; drop one")
            chosen[key] = value
        return GridRule(**chosen)  # type: ignore[arg-type]

    def __str__(self) -> str:
        """The text that ``parse`` takes, without what goes without saying."""
        words = [f"int{self.num_bits}" if self.format == "int" else self.format]
        usual = GridRule(self.format)
        if (self.strategy, self.group_size) != (usual.strategy, usual.group_size):
            words.append(str(self.strategy) if self.group_size is None else f"g{self.group_size}")
        words += [] if self.symmetric else ["asym"]
        words += [] if self.observer == "minmax" else [self.observer]
        if self.scale_dtype != usual.scale_dtype:
            words += [short for short, long in _DTYPES.items() if long == self.scale_dtype]
        return "-".join(words)

    @property
    def bits(self) -> int:
        """Width of a code."""
        return self._bits()

    def grid(self, weights: ArrayLike) -> Grid:
        """The grid for weights (channels, n): those of a whole layer, dead inputs included.

        Raises:
            ProblemError: weights that are no finite numbers, or steps beyond their format.
        """
        weights = np.atleast_2d(finite_array("weights", weights))
        if weights.ndim != 2 or weights.size == 0:
            raise ProblemError(f"weights must be (channels, n), got shape {weights.shape}")
        assert self.strategy is not None
        blocks = in_blocks(weights, self.strategy, self.group_size)
        search, size = self.observer == "mse", self.group_size
        if self.format == "int":
            levels = integers(self.bits)
            step, zero = self._steps(blocks, levels)
            return Grid.uniform(self.bits, step, zero, size, step_bits=self._step_bits)
        levels = np.array(_CODEBOOKS[self.format])
        if self.format == "mxfp4":
            return Grid.mxfp4(mx_steps(blocks, levels, search))
        if self.format == "nvfp4":
            return Grid.nvfp4(*nv_steps(blocks, levels, search))
        step, _ = self._steps(blocks, levels)
        return Grid.codebook(levels, step, size, name=self.format, step_bits=self._step_bits)

    @property
    def _step_bits(self) -> int:
        return STEP_BITS[str(self.scale_dtype)]

    def _steps(self, blocks: np.ndarray, levels: np.ndarray) -> Steps:
        choose = symmetric_steps if self.symmetric else pointed_steps
        return choose(blocks, levels, self.observer == "mse", str(self.scale_dtype))


def grid_for(asked: Grid | GridRule | str, weights: ArrayLike) -> Grid:
    """A grid as it is; one made from ``weights`` by a rule or the text of one.

    Raises:
        ProblemError: neither, or a rule that makes none.
    """
    if isinstance(asked, Grid):
        return asked
    if not isinstance(asked, str | GridRule):
        raise ProblemError(f"grid must be a Grid, a GridRule or text {_SPELLING}; got {asked!r}")
    rule = GridRule.parse(asked) if isinstance(asked, str) else asked
    return rule.grid(weights)


def _option(option: str, text: str) -> tuple[str, object]:
    if option in OBSERVERS:
        return "observer", option
    if option == "asym":
        return "symmetric", False
    if option in _DTYPES:
        return "scale_dtype", _DTYPES[option]
    if option in ("tensor", "channel"):
        return "strategy", option
    if re.fullmatch(r"g[1-9]\d{0,8}", option):
        return "group_size", int(option[1:])
    raise ProblemError(
        f"grid {text!r} has an unknown option {option!r}; there are g128 (a group size), tensor, "
        f"channel, asym, minmax, mse, {', '.join(_DTYPES)}"
    )


def _one_of(name: str, word: object, words: tuple[str, ...]) -> None:
    if word not in words:
        raise ProblemError(f"{name} must be one of {', '.join(words)}, got {word!r}")
