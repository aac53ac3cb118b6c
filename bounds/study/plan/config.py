"""A study, as plain data: which layers, which inputs, which problems, which methods, which limits.

Every field carries the rule its value must keep, so a study written in Python and one read from
TOML are refused with the same sentence. What is not given takes the default seen here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from bounds.errors import StudyError
from bounds.problem.gram import ROUNDINGS
from bounds.study.plan.rules import Checked as _Checked
from bounds.study.plan.rules import check, faults, spell
from bounds.study.plan.rules import count as _count
from bounds.study.plan.rules import distinct as _distinct
from bounds.study.plan.rules import methods as _methods
from bounds.study.plan.rules import one_of as _one_of
from bounds.study.plan.rules import positive as _positive
from bounds.study.plan.rules import ruled as _ruled
from bounds.study.plan.rules import source as _source
from bounds.study.plan.rules import text as _text
from bounds.study.plan.rules import whole as _whole

__all__ = ["Calibration", "LayerChoice", "Solve", "Study", "check", "faults", "spell"]

#: How k is found from n b/16, and how channels and chunks are picked when not all are wanted.
KEEP_RULES = ("floor", "nearest", "interpolate")
SCALE_RULES = ("mse", "minmax", "mse-channel", "minmax-channel")
SELECTIONS = ("even", "first")
BACKENDS = ("threads", "processes")


def _grid_text(value: Any) -> str | None:
    """A grid, as text or as a table of its words, in the text that its rule has; else None."""
    from bounds.errors import ProblemError
    from bounds.problem.rule import GridRule

    try:
        if isinstance(value, str):
            return str(GridRule.parse(value))
        return str(GridRule(**value)) if isinstance(value, dict) else None
    except (ProblemError, TypeError):
        return None


@dataclass(frozen=True)
class LayerChoice(_Checked):
    """Layers of one source; ``max_chunks`` and ``max_channels`` thin them out for a quick study.

    ``select`` says which are taken then: evenly spaced ones, or the first.
    """

    section = "layers"

    source: str = field(metadata=_source())
    names: tuple[str, ...] = field(
        metadata=_ruled(
            lambda v: _distinct(v, _text) and len(v) > 0,
            "a list of distinct layer names, see `layerbounds layers SOURCE`",
        )
    )
    max_chunks: int | None = field(default=None, metadata=_count("chunks"))
    max_channels: int | None = field(default=None, metadata=_count("channels"))
    select: str = field(default="even", metadata=_one_of(SELECTIONS))


@dataclass(frozen=True)
class Calibration(_Checked):
    """The images the layers see: a folder, or ``"bundled"``.

    ``heldout`` of them only judge the result; ``limit`` takes the first so many of a folder.
    """

    section = "calibration"

    images: str = field(
        default="bundled", metadata=_ruled(_text, 'a folder of images, or "bundled"')
    )
    heldout: int = field(
        default=6, metadata=_ruled(lambda v: _whole(v, 1), "a whole number of images, 1 or more")
    )
    limit: int | None = field(default=None, metadata=_count("images"))


@dataclass(frozen=True)
class Solve(_Checked):
    """What is solved for every chunk, and within which limits.

    Attributes:
        chunk: input features of a chunk; 36 is the paper's.
        bits: bit widths b; pruning is solved at the same storage, sparsity 1 - b/16.
        rounding: ``"fp16"`` rounds the weights to half precision first, as the paper does;
            ``"bf16"`` to bfloat16.
        grids: grids of quantization in place of ``bits`` and ``scale``, chosen in the whole layer:
            texts such as ``"int4-g128"``, or tables of ``bounds.GridRule``'s words.
        scale: rule for the quantization step, see ``bounds.problem.grid.choose_scale``.
        keep: how k is made from n b/16 where that is not whole.
        quantization: methods for quantization, in the order of the results.
        pruning: methods for pruning.
        time_limit: seconds per channel of methods that search; ``inf`` for none.
        node_limit: search nodes per channel; unlike seconds, the same on every machine.
        workers: tasks solved at the same time.
        backend: ``"threads"`` (the kernels release the GIL) or ``"processes"``.
        certificates: write a certificate of every result, see docs/certificate.md.
    """

    section = "solve"

    chunk: int = field(
        default=36, metadata=_ruled(lambda v: _whole(v, 1), "a whole number of features, 1 or more")
    )
    bits: tuple[int, ...] = field(
        default=(2, 3, 4, 5, 6, 7, 8),
        metadata=_ruled(
            lambda v: _distinct(v, lambda b: _whole(b, 1, 16)) and len(v) > 0,
            "a list of distinct whole numbers from 1 to 16",
        ),
    )
    rounding: str = field(default="fp16", metadata=_one_of(ROUNDINGS))
    scale: str = field(default="mse", metadata=_one_of(SCALE_RULES))
    grids: tuple[str, ...] = field(
        default=(),
        metadata=_ruled(
            lambda v: (
                isinstance(v, tuple)
                and None not in (told := [_grid_text(g) for g in v])
                and len(set(told)) == len(told)
            ),
            "a list of distinct grids such as int4-g128, int4-g32-asym-mse, nf4, mxfp4 or nvfp4",
        ),
    )
    keep: str = field(default="floor", metadata=_one_of(KEEP_RULES))
    quantization: tuple[str, ...] = field(
        default=("gptq", "descent", "sdp", "exact"), metadata=_methods("quantization")
    )
    pruning: tuple[str, ...] = field(
        default=("magnitude-ls", "obs", "perspective", "exact"), metadata=_methods("pruning")
    )
    time_limit: float = field(
        default=10.0, metadata=_ruled(_positive, "a positive number of seconds, or inf")
    )
    node_limit: int | None = field(default=None, metadata=_count("search nodes"))
    workers: int = field(
        default=2, metadata=_ruled(lambda v: _whole(v, 1), "a whole number, 1 or more")
    )
    backend: str = field(default="threads", metadata=_one_of(BACKENDS))
    certificates: bool = field(
        default=False, metadata=_ruled(lambda v: isinstance(v, bool), "true or false")
    )

    def __post_init__(self) -> None:
        """Check the fields; grids given as tables become texts."""
        super().__post_init__()
        object.__setattr__(self, "grids", tuple(map(_grid_text, self.grids)))


@dataclass(frozen=True)
class Study(_Checked):
    """A study: its name (also the folder of its results), its seed and its parts.

    Raises:
        StudyError: a value breaks its rule, or the same layer is asked for twice.
    """

    name: str = field(
        metadata=_ruled(
            lambda v: isinstance(v, str) and re.fullmatch(r"\w[\w.-]*", v) is not None,
            "letters, digits, dots, dashes and underscores (it names a folder)",
        )
    )
    layers: tuple[LayerChoice, ...] = field(
        metadata=_ruled(
            lambda v: isinstance(v, tuple) and len(v) > 0,
            "[[layers]] tables, each with a source and names",
        )
    )
    seed: int = field(
        default=0,
        metadata=_ruled(lambda v: _whole(v, 0, 2**32 - 1), "a whole number from 0 to 2^32 - 1"),
    )
    calibration: Calibration = field(default_factory=Calibration)
    solve: Solve = field(default_factory=Solve)

    def __post_init__(self) -> None:
        """Check the fields, and that no layer is asked for twice."""
        super().__post_init__()
        seen: set[tuple[str, str]] = set()
        for choice in self.layers:
            for name in choice.names:
                if (choice.source, name) in seen:
                    raise StudyError(f"layers: {choice.source} {name} is there twice; drop one")
                seen.add((choice.source, name))
