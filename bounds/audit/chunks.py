"""One chunk at one bit width: every difference measured on the same channels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from bounds import pruning_range, quantization_range
from bounds.audit.differences import OVERSTATED, Comparison
from bounds.audit.published import refitted_magnitude, released_codes, released_sdp
from bounds.errors import SolverError
from bounds.linalg.forms import form
from bounds.problem.gram import round_weights
from bounds.problem.grid import choose_scale, integer_range
from bounds.problem.range import TOLERANCE
from bounds.problem.sparsity import choose_keep
from layers.dump.file import Chunk

Floats = NDArray[np.float64]

#: A grid so wide that its box changes nothing: how the SDP without a box is verified.
NO_BOX = 16


class Setting:
    """A chunk, some of its channels, a bit width: the paper's protocol, optima found once."""

    def __init__(self, chunk: Chunk, channels: Sequence[int], bits: int, time_limit: float) -> None:
        """Round the weights, choose the step on all channels, and solve both problems."""
        weights = round_weights(chunk.weights, "fp16")
        self.chunk, self.bits, self.time_limit = chunk, bits, time_limit
        self.gram = chunk.gram
        self.weights = weights[list(channels)]
        self.step = float(choose_scale(weights, bits))
        self.box = integer_range(bits)
        self.energy = form(self.gram, self.weights).astype(np.float64)

    def quantized(self, bits: int, method: str) -> tuple[Floats, Floats]:
        """Lower and upper errors (channels,) on the grid of this setting's step."""
        limit = self.time_limit if method == "exact" else None
        found = quantization_range(
            self.gram, self.weights, bits=bits, scale=self.step, method=method, time_limit=limit
        )
        return found.lower, found.upper

    def pruned(self, keep: int) -> Floats:
        """Errors (channels,) attained by the exact search."""
        return pruning_range(self.gram, self.weights, keep=keep, time_limit=self.time_limit).upper

    def compare(
        self,
        difference: str,
        published: Floats,
        right: Floats,
        solved: NDArray[np.bool_] | None = None,
        false: int = 0,
        overstated: int = 0,
    ) -> Comparison:
        """A comparison on this chunk's inputs; ``solved`` (channels,) made the claims counted."""
        part = slice(None) if solved is None else solved
        return Comparison(
            difference,
            self.chunk.source,
            self.chunk.layer,
            self.chunk.index,
            self.bits,
            published[part],
            right[part],
            self.energy[part],
            self.energy[part],
            0 if solved is None else int(solved.sum()),
            false,
            overstated,
        )


def audit_chunk(
    chunk: Chunk, channels: Sequence[int], bits: int, *, seed: int = 0, time_limit: float = 10.0
) -> Iterator[Comparison]:
    """Every difference but that of unfolding, on ``channels`` of a chunk.

    Args:
        chunk: of a dump; its weights are rounded to FP16 as in the paper.
        bits: width of the grid; pruning keeps n b/16 weights.
        seed: of the random roundings.
        time_limit: seconds per channel of the exact searches.

    Yields:
        Comparisons. Those of the SDP are over the channels the released code survives: none on
        an exactly singular Gram.
    """
    setting = Setting(chunk, channels, bits, time_limit)
    yield from _quantization(setting, seed)
    yield from _pruning(setting)


def audit_unfolding(
    chunk: Chunk, plain: Chunk, channels: Sequence[int], bits: int, *, time_limit: float = 10.0
) -> Iterator[Comparison]:
    """What inputs unfolded without stride and padding (``plain``) do to both problems' optima."""
    sides = [Setting(one, channels, bits, time_limit) for one in (plain, chunk)]
    for problem in ("quantization", "pruning"):
        if problem == "quantization":
            published, right = (side.quantized(bits, "exact")[1] for side in sides)
        else:
            keep = choose_keep(len(chunk.gram), bits, "floor").parts[0][0]
            published, right = (side.pruned(keep) for side in sides)
        energy, right_energy = (side.energy for side in sides)
        yield Comparison(
            f"unfold, {problem}",
            chunk.source,
            chunk.layer,
            chunk.index,
            bits,
            published,
            right,
            energy,
            right_energy,
        )


def _quantization(setting: Setting, seed: int) -> Iterator[Comparison]:
    boxed, _ = setting.quantized(setting.bits, "sdp")
    free, _ = setting.quantized(NO_BOX, "sdp")
    yield setting.compare("box", free, boxed)
    _, optimum = setting.quantized(setting.bits, "exact")
    values, clipped, inside = (np.full(len(optimum), np.nan) for _ in range(3))
    outside = overstated = 0
    lo, hi = setting.box
    for c, w in enumerate(setting.weights):
        try:
            relaxed = released_sdp(setting.gram, w, setting.step)
        except SolverError:
            continue
        values[c] = relaxed.value
        overstated += relaxed.value > relaxed.accurate + OVERSTATED * abs(relaxed.accurate)
        codes = released_codes(setting.gram, w / setting.step, relaxed, seed + c, lo, hi)
        d = setting.step * np.array(codes) - w
        clipped[c], inside[c] = form(setting.gram, d).astype(np.float64)
        outside += bool((codes[0] < lo).any() or (codes[0] > hi).any())
    solved = np.isfinite(values)
    if not solved.any():
        return
    beaten = int((values[solved] > optimum[solved] * (1 + TOLERANCE)).sum())
    yield setting.compare("solver value", values, free, solved, beaten, overstated)
    yield setting.compare("1-opt", clipped, inside, solved, outside)


def _pruning(setting: Setting) -> Iterator[Comparison]:
    n = len(setting.gram)
    nearest = choose_keep(n, setting.bits, "nearest").parts[0][0]
    small, large = (
        refitted_magnitude(setting.gram, setting.weights, nearest, smallest)
        for smallest in (True, False)
    )
    yield setting.compare("smallest kept", small, large)
    floor = choose_keep(n, setting.bits, "floor").parts[0][0]
    published = setting.pruned(floor)
    right = np.zeros_like(published)
    for keep, share in choose_keep(n, setting.bits, "interpolate").parts:
        right += share * (published if keep == floor else setting.pruned(keep))
    yield setting.compare("floored k", published, right)
