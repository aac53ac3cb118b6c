"""Bring your own solution: how far is a compressed layer, from whatever tool, from the optimum?

Every chunk of the layer is solved, or bounded, on the very grid (or with the very number of kept
weights) of the solution given; its error divided by the proven lower bound is a gap that no
compressed weights can be further from the optimum. Chunks are compressed one by one: the layer's
own error, which the Gram blocks between chunks enter, is told beside it, without a bound.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bounds.errors import Interrupted, ProblemError, SolverError
from bounds.gap.steps import infer_steps, to_codes
from bounds.gap.stored import Stored, as_stored
from bounds.linalg.forms import form
from bounds.problem.answer import answer
from bounds.problem.attempt import Options
from bounds.problem.constraint import Constraint
from bounds.problem.gram import check_problem, round_weights
from bounds.problem.grid import RULES, Grid, check_scale, choose_scale, integer_range
from bounds.problem.limits import DEFAULT_SECONDS, Limits
from bounds.problem.methods import PRUNING, QUANTIZATION
from bounds.problem.range import (
    CERTIFIED,
    ENERGY_FLOOR,
    EXACT,
    HEURISTIC,
    TOLERANCE,
    Bounded,
    Range,
    decibels,
    snr,
)
from bounds.problem.sparsity import Sparse

if TYPE_CHECKING:
    from layers.dump.file import Chunk, LayerDump

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

#: Words for ``scale`` and ``keep``: taken from the solution itself.
INFER = "infer"
OWN = "own"


@dataclass(frozen=True)
class Gap(Bounded):
    """A solution against its bound, per output channel, each summed over the channel's chunks.

    Attributes:
        problem: ``quantization`` or ``pruning``.
        demand: what a solution had to fulfil, in words.
        energy, error: (channels,) uncompressed output, and the solution's error.
        lower, upper: (channels,) proven lower bound, and the best error attained here.
        fits: (channels,) whether the solution fulfils the demand; the bound holds only then.
        solved, asked: (channels,) chunks that were judged, and that there are; fewer after a stop.
        misfits: weights off the grid, or chunks of a channel with too many nonzeros.
        pieces: of how many weights, or chunks of a channel.
        statuses: how many chunks of a channel are exact, certified, heuristic.
        layer_energy, layer_error: (channels,) with all inputs of the layer together; None where
            the dump does not hold the whole Gram matrix.
        heldout_energy, heldout_error: (channels,) likewise on the held-out images.
    """

    problem: str
    demand: str
    energy: Floats
    error: Floats
    lower: Floats
    upper: Floats
    fits: Bools
    solved: Ints
    asked: Ints
    misfits: int
    pieces: int
    statuses: dict[str, int]
    layer_energy: Floats | None
    layer_error: Floats | None
    heldout_energy: Floats | None
    heldout_error: Floats | None

    @property
    def known(self) -> Bools:
        """(channels,) which fit, and were judged in a chunk at least."""
        return self.fits & (self.solved > 0)

    @property
    def channel_gaps(self) -> Floats:
        """(channels,) at most so many dB from optimal; NaN where it is not known."""
        gaps = list(map(distance, self.error, self.lower, self.energy))
        return np.where(self.known, gaps, np.nan)

    @property
    def gap(self) -> float:
        """At most so many dB from optimal, over the channels that fit; NaN if none does."""
        if not self.known.any():
            return math.nan
        sums = (float(v[self.known].sum()) for v in (self.error, self.lower, self.energy))
        return distance(*sums)

    @property
    def snr(self) -> float:
        """SNR of the solution in dB, per chunk."""
        return snr(self.energy, self.error)

    @property
    def layer_snr(self) -> float:
        """SNR in dB of the solution on all inputs of the layer together; NaN if not known."""
        known = self.layer_energy is not None and self.layer_error is not None
        return snr(self.layer_energy, self.layer_error) if known else math.nan  # type: ignore[arg-type]

    @property
    def heldout_snr(self) -> float:
        """The same on the held-out images."""
        known = self.heldout_energy is not None and self.heldout_error is not None
        return snr(self.heldout_energy, self.heldout_error) if known else math.nan  # type: ignore[arg-type]


def distance(error: float, lower: float, energy: float) -> float:
    """dB of an error over its bound: 0 if it is rounding of the energy, infinite unbounded."""
    if error <= max(lower, ENERGY_FLOOR * energy):
        return 0.0
    return decibels(error, lower)


def gap(
    layer: LayerDump,
    compressed: ArrayLike | Stored,
    *,
    bits: int | None = None,
    scale: str | ArrayLike = INFER,
    keep: int | str | None = None,
    size: int | None = 36,
    method: str = "exact",
    time_limit: float | None = DEFAULT_SECONDS,
    rounding: str = "none",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Gap:
    """Judge the compressed weights of one layer.

    Args:
        layer: its dump (``layers.read_dump``).
        compressed: (channels, n) or in the network's shape, dequantized real numbers: an array, a
            tensor of torch, or what ``bounds.gap.files.read_weights`` returns. They are on a grid
            if they are but for rounding to their own precision.
        bits: for quantization: codes are -2^(b-1) .. 2^(b-1)-1, without zero point.
        scale: the step: ``"infer"`` finds one per channel in the solution; a rule of
            ``bounds.problem.grid.RULES`` computes it per chunk from the uncompressed weights;
            or a number, or one per channel.
        keep: for pruning: at most so many nonzeros per channel in every chunk, or ``"own"``: as
            many as the solution has there.
        size: input features of a chunk; None for all features of the layer at once.
        method: of ``quantization_range`` or ``pruning_range``.
        time_limit: seconds per channel; None for no limit.
        rounding: ``"fp16"`` compares with weights rounded to half precision, as studies do;
            ``"bf16"`` with weights rounded to bfloat16.
        progress: told how many problems of one channel and chunk are done, and of how many.

    Raises:
        ProblemError: neither or both of bits and keep, weights that are not the layer's, an unknown
            rounding or one that the layer's own weights do not fit, limits out of range.
        MethodError: an unknown method, or one that needs a package that is not installed.
        SolverError: an error below the bound, which would refute the bound; or SCIP (method
            ``scip``) stopped without an answer.
        DumpError: the dump does not hold chunks of this size.
        Interrupted: Ctrl-C when some channels were judged; it has the ``Gap`` of what was.
    """
    stored = check_weights(layer, compressed)
    given, accuracy = np.array(stored.values, np.float64), stored.accuracy
    Limits(time_limit)  # refused before anything is solved
    original = round_weights(np.array(layer.weights, np.float64), rounding)
    demand = _demand(bits, scale, keep, given, accuracy)
    chunks = layer.chunks(size)
    solved, asked = np.zeros(layer.channels, np.int64), np.zeros(layer.channels, np.int64)
    for chunk in chunks:
        asked[chunk.channels] += 1
    pieces, stopped = _pieces(
        demand, chunks, original, given, method, Options(Limits(time_limit)),
        lambda done: progress(done, int(asked.sum())),
    )  # fmt: skip
    totals = {name: np.zeros(layer.channels) for name in ("energy", "error", "lower", "upper")}
    fits = np.ones(layer.channels, bool)
    misfits = things = 0
    statuses: dict[str, int] = dict.fromkeys((EXACT, CERTIFIED, HEURISTIC), 0)
    judged = np.array(given)
    for piece in pieces:
        inside, found = piece.channels, piece.found
        judged[inside, piece.features] = piece.weights
        totals["energy"][inside] += found.energy
        totals["error"][inside] += found.problem.errors(piece.weights)
        totals["lower"][inside] += found.lower
        totals["upper"][inside] += found.upper
        for status in statuses:
            statuses[status] += found.count(status)
        solved[inside] += 1
        fits[inside] &= piece.wrong == 0
        misfits += int(piece.wrong.sum())
        things += piece.weights.size if demand.problem == QUANTIZATION else len(inside)
    slack = 2 * TOLERANCE * totals["lower"] + ENERGY_FLOOR * totals["energy"]
    below = fits & (totals["error"] < totals["lower"] - slack)
    if below.any():
        raise SolverError(
            f"channel {int(np.argmax(below))} has an error below the proven bound, which refutes "
            "the bound; please report this dump and these weights"
        )
    whole = layer.block_width is None or layer.block_width >= layer.features
    blocks = (
        (layer.gram_blocks[0], next(iter(layer.heldout_blocks), None)) if whole else (None, None)
    )
    calibration, heldout = (_whole(layer, block, original, judged) for block in blocks)
    result = Gap(
        problem=demand.problem,
        demand=demand.words,
        fits=fits,
        solved=solved,
        asked=asked,
        misfits=misfits,
        pieces=things,
        statuses=statuses,
        layer_energy=calibration[0],
        layer_error=calibration[1],
        heldout_energy=heldout[0],
        heldout_error=heldout[1],
        **totals,
    )
    if stopped:
        raise Interrupted(result)
    return result


@dataclass(frozen=True)
class _Piece:
    """Some channels (some,) of the layer in one chunk, solved.

    ``weights`` (some, n) are compared with the range, in which ``wrong`` (some,) things are wrong.
    """

    channels: Ints
    features: slice
    weights: Floats
    wrong: Ints
    found: Range


def _pieces(
    demand: _Grid | _Kept,
    chunks: list[Chunk],
    original: Floats,
    given: Floats,
    method: str,
    options: Options,
    progress: Callable[[int], None],
) -> tuple[list[_Piece], bool]:
    """What is solved, and whether Ctrl-C ended it early; that counts once something is solved."""
    pieces: list[_Piece] = []
    done = 0
    try:
        for chunk in chunks:
            rows, columns = chunk.channels, chunk.features
            w = original[rows, columns]
            v, wrong, parts = demand.judge(w, given[rows, columns], rows)
            problem = check_problem(chunk.gram, w)
            for where, constraint in parts:
                stopped = False
                try:
                    found = answer(
                        problem.rows(where), constraint, method, options,
                        progress=lambda more, done=done: progress(done + more),
                    )  # fmt: skip
                except Interrupted as stop:
                    found, stopped = stop.found, True
                kept = where[: len(found.lower)]
                pieces.append(_Piece(rows.start + kept, columns, v[kept], wrong[kept], found))
                if stopped:
                    return pieces, True
                done += len(where)
    except KeyboardInterrupt:
        if not pieces:
            raise
        return pieces, True
    return pieces, False


def check_weights(layer: LayerDump, compressed: ArrayLike | Stored) -> Stored:
    """``compressed`` as (channels, n), with its precision.

    Raises:
        ProblemError: another shape, no real numbers, or NaN.
    """
    stored = as_stored("compressed weights", compressed)
    array = stored.values
    shapes = (layer.weights.shape, layer.weight_shape)
    if array.shape not in shapes:
        raise ProblemError(
            f"compressed weights have shape {array.shape}, {layer.layer} has "
            f"{' or '.join(map(str, dict.fromkeys(shapes)))}"
        )
    if not np.isfinite(array).all():
        raise ProblemError("compressed weights have a NaN or infinite entry; mend them first")
    return Stored(array.reshape(layer.weights.shape), stored.accuracy)


def _whole(
    layer: LayerDump, block: Floats | None, original: Floats, judged: Floats
) -> tuple[Floats, Floats] | tuple[None, None]:
    """Energy and error (channels,) of the layer with all its inputs together."""
    if block is None:
        return None, None
    energy, error = np.zeros(layer.channels), np.zeros(layer.channels)
    per_group = layer.channels // layer.groups
    for group in range(layer.groups):
        rows = slice(group * per_group, (group + 1) * per_group)
        energy[rows] = form(block[group], original[rows])
        error[rows] = form(block[group], judged[rows] - original[rows])
    return np.maximum(energy, 0.0), np.maximum(error, 0.0)


#: What a chunk is held against: the weights (channels, n) that are compared, how many things are
#: wrong per channel (channels,), and the constraint of some of its channels each.
Judgement = tuple[Floats, Ints, Sequence[tuple[Ints, Constraint]]]


@dataclass(frozen=True)
class _Grid:
    """On the grid of ``bits`` bits, with steps as ``rule`` says or (channels of the layer,)."""

    bits: int
    rule: str | None
    steps: Floats | None
    accuracy: float
    words: str
    problem: str = QUANTIZATION

    def judge(self, w: Floats, given: Floats, channels: slice) -> Judgement:
        if self.rule is not None:
            steps = check_scale(choose_scale(w, self.bits, self.rule), len(w))
        else:
            assert self.steps is not None
            steps = self.steps[channels]
        codes, on_grid = to_codes(given, steps, self.bits, self.accuracy)
        # On the grid but for rounding is on the grid: the codes are what the solution means.
        v = np.where(on_grid, steps[:, None] * codes, given)
        return v, (~on_grid).sum(axis=1), [(np.arange(len(w)), Grid.uniform(self.bits, steps))]


@dataclass(frozen=True)
class _Kept:
    """At most ``most`` nonzeros per channel in every chunk; None: as many as the solution has."""

    most: int | None
    words: str
    problem: str = PRUNING

    def judge(self, w: Floats, given: Floats, channels: slice) -> Judgement:
        kept = (given != 0).sum(axis=1)
        most = kept if self.most is None else np.full(len(w), min(self.most, w.shape[1]))
        parts = [(np.flatnonzero(most == k), Sparse(int(k))) for k in np.unique(most)]
        return given, (kept > most).astype(np.int64), parts


def _demand(
    bits: int | None, scale: str | ArrayLike, keep: int | str | None, given: Floats, accuracy: float
) -> _Grid | _Kept:
    """What the solution is held against."""
    if (bits is None) == (keep is None):
        raise ProblemError("give either bits, for quantization, or keep, for pruning")
    if keep is not None:
        return _kept(keep)
    assert bits is not None
    integer_range(bits)
    grid = f"{bits} bits, {2**bits} codes without zero point, "
    if isinstance(scale, str) and scale in RULES:
        return _Grid(bits, scale, None, accuracy, f"{grid}step by the rule {scale} in every chunk")
    if isinstance(scale, str) and scale == INFER:
        steps = infer_steps(given, bits, accuracy)
        return _Grid(bits, None, steps, accuracy, f"{grid}step found in the solution, per channel")
    if isinstance(scale, str):
        raise ProblemError(f"unknown scale {scale!r}; give {INFER}, {', '.join(RULES)}, or numbers")
    steps = check_scale(scale, len(given))
    told = f"step {steps[0]:.6g}" if np.ndim(scale) == 0 else "one given step per channel"
    return _Grid(bits, None, steps, accuracy, grid + told)


def _kept(keep: int | str) -> _Kept:
    if keep == OWN:
        return _Kept(None, "as many nonzeros per channel in every chunk as the solution has")
    if isinstance(keep, bool) or not isinstance(keep, int | np.integer) or keep < 0:
        raise ProblemError(f"keep must be a whole number of weights or {OWN!r}, got {keep!r}")
    return _Kept(int(keep), f"at most {keep} nonzeros per channel in every chunk")


def worst_channels(found: Gap, count: int) -> Iterator[int]:
    """Channels that fit, those with the largest gap first."""
    gaps = np.where(np.isnan(found.channel_gaps), -np.inf, found.channel_gaps)
    order = np.argsort(-gaps, kind="stable")
    return (int(channel) for channel in order[:count] if found.known[channel])
