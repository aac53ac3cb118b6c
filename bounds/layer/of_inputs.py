"""A layer and its inputs, straight to a range: no dump on disk, no Gram matrix by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bounds.errors import ProblemError
from bounds.problem.answer import answer
from bounds.problem.attempt import Options
from bounds.problem.constraint import Constraint
from bounds.problem.gram import check_problem
from bounds.problem.grid import RULES, Grid, check_scale, choose_scale
from bounds.problem.limits import DEFAULT_SECONDS, Limits
from bounds.problem.methods import methods
from bounds.problem.range import Bounded, Range
from bounds.problem.sparsity import sparsity

Floats = NDArray[np.float64]

#: Up to so many inputs the optimum is searched for, where no method is named.
SEARCHED = 64


@dataclass(frozen=True, eq=False, repr=False)
class LayerRange(Bounded):
    """The ranges of a whole layer: one, or one for each channel group of a convolution.

    Attributes:
        parts: their channels one after the other are the layer's; each has its own Gram matrix.
    """

    parts: tuple[Range, ...]

    def _joined(self, name: str) -> NDArray:
        return np.concatenate([getattr(part, name) for part in self.parts])

    @property
    def lower(self) -> Floats:
        """(channels,) proven lower bounds, unit of the energy."""
        return self._joined("lower")

    @property
    def upper(self) -> Floats:
        """(channels,) errors attained by ``weights``."""
        return self._joined("upper")

    @property
    def energy(self) -> Floats:
        """(channels,) squared norm of the uncompressed output."""
        return self._joined("energy")

    @property
    def weights(self) -> Floats:
        """(channels, n) compressed weights that attain ``upper``."""
        return self._joined("weights")

    @property
    def status(self) -> NDArray[np.str_]:
        """(channels,) as of ``Range``."""
        return self._joined("status")

    def __repr__(self) -> str:
        """One line."""
        first = repr(self.parts[0])
        if len(self.parts) == 1:
            return first
        return (
            f"LayerRange({len(self.parts)} groups, {self.parts[0].constraint}, "
            f"{self.parts[0].method}: attained {self.snr_attained:.2f} dB, "
            f"at most {self.snr_bound:.2f} dB)"
        )


def layer_range(
    layer: Any,
    inputs: Any,
    bits: int | None = None,
    *,
    grid: Grid | None = None,
    scale: ArrayLike | str = "mse",
    keep: int | None = None,
    pattern: tuple[int, int] | None = None,
    method: str | None = None,
    time_limit: float | None = DEFAULT_SECONDS,
) -> LayerRange:
    """How small the error of a whole layer's output can be, on the inputs given.

    Args:
        layer: a torch layer (linear, convolution), or weights as an array (out, in) or
            (out, in / groups, height, width).
        inputs: what it is called with: an array, a tensor, or a list of several.
        bits: width of a signed integer grid.
        grid: any other grid, instead of bits.
        scale: step of the grid of ``bits``: a rule such as ``"mse"``, for all channels together, or
            numbers.
        keep, pattern: for pruning, instead: nonzeros a channel, or ``(2, 4)``.
        method: see ``bounds.problem.methods``; unless named, ``exact`` up to 64 inputs and a
            relaxation beyond.
        time_limit: seconds a channel, of methods that search.

    Raises:
        ProblemError: not exactly one of bits, grid, keep and pattern, or numbers that define no
            problem.
        CaptureError: inputs that do not fit the layer, or one that is no layer.
        MethodError: unknown method.
    """
    from layers.capture.model import dump_from  # torch is for those who ask for it

    if sum(given is not None for given in (bits, grid, keep, pattern)) != 1:
        raise ProblemError("give exactly one of bits, grid, keep and pattern")
    dump = dump_from(layer, inputs)
    weights = np.array(dump.weights, np.float64)
    demand: Constraint
    if bits is not None:
        demand = Grid.uniform(bits, _step(weights, bits, scale))
    else:
        demand = grid if grid is not None else sparsity(keep, pattern)
    chosen = method or _method(demand.kind, dump.features)
    options = Options(Limits(time_limit))
    chunks = dump.chunks(None)
    return LayerRange(
        tuple(
            answer(check_problem(c.gram, c.weights), demand.rows(c.channels), chosen, options)
            for c in chunks
        )
    )


def _step(weights: Floats, bits: int, scale: ArrayLike | str) -> ArrayLike:
    if not isinstance(scale, str):
        return check_scale(scale, len(weights)) if np.ndim(scale) else scale
    if scale not in RULES:
        raise ProblemError(f"unknown scale {scale!r}; give numbers or {', '.join(RULES)}")
    return choose_scale(weights, bits, scale)


def _method(kind: str, features: int) -> str:
    if features <= SEARCHED:
        return "exact"
    return first_known(kind, ("sdp-shared", "sdp", "perspective-shared", "perspective"))


def first_known(kind: str, wanted: Sequence[str]) -> str:
    """The first of some methods that is in the table of this kind."""
    known = methods(kind)
    return next(name for name in wanted if name in known)
