"""One whole layer of anybody's: its grid or pattern, its error, what others reach, what is proven.

The unit is the layer with all its inputs together. Errors and rounding are evaluated for every
channel; GPTQ, the best weights and the bound for a sample of them, the same for all.
"""

from __future__ import annotations

import math
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bounds.errors import LayerboundsError, MethodError, ProblemError, SolverError
from bounds.gap.formats.weights import Weights
from bounds.gap.judged import UNCHANGED, UNKNOWN, JudgedLayer, Sample
from bounds.gap.look import Look, grid_words, look
from bounds.layer.volume import volume_of
from bounds.linalg.forms import form
from bounds.problem.answer import answer
from bounds.problem.attempt import Options
from bounds.problem.constraint import Constraint
from bounds.problem.gram import Problem, check_problem
from bounds.problem.grid import Grid
from bounds.problem.joint import Joint
from bounds.problem.limits import Limits
from bounds.problem.methods import JOINT, PRUNING, QUANTIZATION, methods
from bounds.problem.range import ENERGY_FLOOR, TOLERANCE, Range
from bounds.problem.sparsity import Pattern, Sparse
from bounds.problem.storage import VALUE_BITS, mask_bits
from layers.dump.layout import PLAIN, to_rows

if TYPE_CHECKING:
    from layers.dump.file import Chunk, LayerDump

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Channels that are sampled, up to so many inputs exactly solved, and the widest each bound takes.
CHANNELS = 32
SEARCHED = 36
SECONDS = 2.0
WIDEST = {"sdp-shared": 8192, "sdp": 256, "perspective": 256, "dual": 128}
#: What is run: a quick method, methods that try harder, and bounds in order of preference.
QUICK = {QUANTIZATION: "gptq", PRUNING: "magnitude-ls", JOINT: "obr"}
STRONG = {QUANTIZATION: ("descent",), PRUNING: ("obs", "swap"), JOINT: ("descent",)}
BOUNDS = {QUANTIZATION: ("sdp-shared", "sdp"), PRUNING: ("perspective",), JOINT: ("dual",)}
#: Inputs beyond which the strong methods are left out.
STRONG_WIDEST = 256
#: Share of the mean Gram diagonal that the table's GPTQ adds.
DAMPING = 0.01
#: Share of pruned weights, zeros that are not the nearest level, from which a grid is sparse too.
PRUNED_SHARE = 0.05

Progress = Callable[[int], object]


@dataclass(frozen=True, eq=False)
class _Held:
    """What a layer is held against: its kind, in words, and the constraint of some channels."""

    kind: str
    words: str
    bits: float
    values: Floats
    grid: Grid | None = None
    pattern: tuple[int, int] | None = None


def judge_layer(
    dump: LayerDump,
    weights: Weights,
    *,
    original: Floats | None = None,
    channels: int | None = CHANNELS,
    time_limit: float | None = SECONDS,
    progress: Progress = lambda done: None,
) -> JudgedLayer:
    """Judge the compressed weights of a layer on the inputs its dump has seen.

    Args:
        dump: with the whole Gram matrix (``blocks="full"``).
        weights: from a reader of ``bounds.gap.formats``; ``as_weights`` makes one of an array.
        original: (channels, n) uncompressed weights instead of the dump's.
        channels: how many are sampled for GPTQ, the best found and the bound; None for all.
        time_limit: seconds a channel of the exact search, used up to 36 inputs.
        progress: told of the channels done, out of those sampled.

    Raises:
        ProblemError: a dump without its whole Gram matrix, weights of another shape.
        SolverError: an error below the bound, which would refute the bound.
    """
    began = time.perf_counter()
    if dump.block_width is not None:
        raise ProblemError(
            f"the dump of {dump.layer} holds blocks of its Gram matrix; extract it again with "
            "--blocks full"
        )
    given = as_rows(dump, weights)
    w = np.array(dump.weights if original is None else original, np.float64)
    known = _facts(dump, weights, w, given)
    if (np.abs(given - w) <= weights.accuracy * np.abs(w)).all():
        return replace(known, kind=UNCHANGED, demand="the original's own numbers")
    held = _held(w, given, weights)
    if isinstance(held, Look):
        found = replace(known, kind=UNKNOWN, demand=str(held), notes=_resemblance(w, given))
        return replace(found, seconds=time.perf_counter() - began)
    order = slice(None) if weights.order is None else weights.order
    parts = [_Part.of(chunk, w, held.values, order) for chunk in dump.chunks(None)]
    plain, equal = _plain(held, parts)
    sample, method, notes = _sample(held, parts, dump, channels, time_limit, progress)
    # What lies on the grid but for rounding of the file is judged as the grid point.
    judged = _facts(dump, weights, w, _natural(held.values, order))
    return replace(
        judged,
        kind=held.kind,
        demand=held.words,
        bits=held.bits,
        plain=plain,
        nearest=equal,
        sample=sample,
        volume=_volume(held, parts),
        method=method,
        damping=DAMPING if held.kind == QUANTIZATION else 0.0,
        notes=(*notes, *_resemblance(w, given)),
        seconds=time.perf_counter() - began,
    )


def as_weights(values: NDArray, accuracy: float | None = None, name: str = "") -> Weights:
    """An array of dequantized weights, of which nothing is said, as a reader returns it."""
    array = np.asarray(values)
    spacing = float(np.finfo(array.dtype).eps) if accuracy is None else accuracy
    return Weights(name, np.asarray(array, np.float64), spacing, said="weights")


def as_rows(dump: LayerDump, weights: Weights) -> Floats:
    """Weights of a file as the rows of a dump.

    Raises:
        ProblemError: another shape.
    """
    wanted = dump.weights.shape
    if weights.grid is not None and weights.rows.shape == wanted:
        return weights.rows
    try:
        rows = to_rows(
            weights.values, dump.recipe.get("layout", PLAIN), dump.weight_shape, dump.groups
        )
    except LayerboundsError as error:
        if weights.rows.shape == wanted:
            return weights.rows
        raise ProblemError(f"{weights.name or dump.layer}: {error}") from error
    if weights.grid is not None and rows is not weights.values and rows.shape != weights.rows.shape:
        raise ProblemError(f"{weights.name}: the grid of these weights is along other rows")
    return rows


def _facts(dump: LayerDump, weights: Weights, w: Floats, given: Floats) -> JudgedLayer:
    """What needs no solver."""
    energy, error = _errors(dump, dump.gram_blocks[0], w, given)
    heldout: tuple[float | None, float | None] = (None, None)
    if dump.heldout_blocks:
        heldout = _errors(dump, dump.heldout_blocks[0], w, given)
    return JudgedLayer(
        dump.layer, dump.source, UNKNOWN, weights.said, "", dump.channels, dump.features,
        float(VALUE_BITS), float(np.count_nonzero(given)) / given.size, energy, error,
        heldout_energy=heldout[0], heldout_error=heldout[1],
    )  # fmt: skip


def _errors(dump: LayerDump, blocks: Floats, w: Floats, given: Floats) -> tuple[float, float]:
    """Energy and error of the layer, all groups and channels."""
    per_group = dump.channels // dump.groups
    energy = error = 0.0
    for group, block in enumerate(blocks):
        rows = slice(group * per_group, (group + 1) * per_group)
        energy += float(np.maximum(form(block, w[rows]), 0).sum())
        error += float(np.maximum(form(block, given[rows] - w[rows]), 0).sum())
    return energy, error


def _natural(values: Floats, order: slice | Ints) -> Floats:
    if isinstance(order, slice):
        return values
    back = np.empty_like(values)
    back[:, order] = values
    return back


def _held(w: Floats, given: Floats, weights: Weights) -> _Held | Look:
    """What the layer is held against, inputs in the grid's order; its look if nothing fits."""
    order = slice(None) if weights.order is None else weights.order
    placed, target = given[:, order], w[:, order]
    grid, pattern = weights.grid, None
    words = weights.said
    density = float(np.count_nonzero(given)) / given.size
    if grid is None:
        seen = look(placed, weights.accuracy)
        grid, pattern, words = seen.grid, seen.pattern, str(seen)
        if grid is None and not seen.sparse:
            return seen
    if grid is None:
        return _Held(PRUNING, words, _pruned_bits(density, pattern), placed, None, pattern)
    near = grid.near(placed, weights.accuracy)
    values = np.where(near, grid.values(grid.codes(placed)), placed)
    channels, features = w.shape
    stored = grid.bits_a_weight(features, "stored", channels)
    # Zeros that rounding would not have made were pruned.
    gone = (placed == 0) & (grid.values(grid.codes(target)) != 0)
    if pattern is None and gone.mean() < PRUNED_SHARE:
        return _Held(QUANTIZATION, words or grid_words(grid), stored, values, grid)
    bits = density * grid.bits + _mask(density, pattern) + stored - grid.bits
    words = f"{words}; {1 - density:.0%} pruned"
    # A pruned weight has to be a level; where zero is none, what the grid alone bounds is bounded.
    zero = np.isin(grid.zeros(channels, features), grid.levels).all()
    return _Held(JOINT if zero else QUANTIZATION, words, bits, values, grid, pattern)


def _mask(density: float, pattern: tuple[int, int] | None) -> float:
    """Bits a weight for the places kept: as few as tell the masks of the pattern apart."""
    if pattern is None:
        return mask_bits(1 - density, "entropy")
    return math.log2(math.comb(pattern[1], pattern[0])) / pattern[1]


def _pruned_bits(density: float, pattern: tuple[int, int] | None) -> float:
    return VALUE_BITS * density + _mask(density, pattern)


@dataclass(frozen=True, eq=False)
class _Part:
    """A channel group: its Gram, and its channels' weights and given values in the grid's order."""

    channels: slice
    problem: Problem
    given: Floats

    @staticmethod
    def of(chunk: Chunk, w: Floats, values: Floats, order: slice | Ints) -> _Part:
        gram = chunk.gram if isinstance(order, slice) else chunk.gram[np.ix_(order, order)]
        rows = chunk.channels
        return _Part(rows, check_problem(gram, w[rows][:, order]), values[rows])


def _plain(held: _Held, parts: Sequence[_Part]) -> tuple[float, float]:
    """Error of rounding, or of the largest weights kept, and the share of weights equal to it."""
    error, equal, count = 0.0, 0, 0
    for part in parts:
        w = part.problem.weights
        if held.grid is not None and held.kind == QUANTIZATION:
            grid = held.grid.rows(part.channels)
            rounded = grid.values(grid.codes(w))
            equal += int((grid.codes(part.given) == grid.codes(w)).sum())
        else:
            rounded = _largest(w, part.given, held)
            if held.grid is not None:
                grid = held.grid.rows(part.channels)
                rounded = np.where(rounded != 0, grid.values(grid.codes(w)), 0.0)
            equal += int((rounded == part.given).sum())
        error += float(np.maximum(form(part.problem.gram, rounded - w), 0).sum())
        count += w.size
    return error, equal / count


def _largest(w: Floats, given: Floats, held: _Held) -> Floats:
    """The largest weights kept, as many as ``given`` has, within the pattern if there is one."""
    size = w.shape[1] if held.pattern is None else held.pattern[1]
    kept = np.zeros_like(w)
    for start in range(0, w.shape[1], size):
        here = slice(start, start + size)
        some, ranks = w[:, here], np.argsort(np.argsort(-np.abs(w[:, here]), axis=1), axis=1)
        if held.pattern is None:
            most = (given != 0).sum(axis=1)[:, None]
        else:
            most = np.full((len(w), 1), held.pattern[0])
        kept[:, here] = np.where(ranks < most, some, 0.0)
    return kept


def _sample(
    held: _Held,
    parts: Sequence[_Part],
    dump: LayerDump,
    channels: int | None,
    time_limit: float | None,
    progress: Progress,
) -> tuple[Sample, str, tuple[str, ...]]:
    """GPTQ, best and bound of some channels."""
    total = dump.channels
    count = total if channels is None else min(channels, total)
    seed = zlib.crc32(f"{dump.source} {dump.layer}".encode())
    picked = np.sort(np.random.default_rng(seed).choice(total, count, replace=False))
    found: list[tuple[Floats, Floats, Floats | None, Floats, Floats]] = []
    notes: dict[str, None] = {}
    used, done = "", 0
    for part in parts:
        inside = picked[(picked >= part.channels.start) & (picked < part.channels.stop)]
        for where, constraint in _constraints(held, part, inside):
            problem = part.problem.rows(where - part.channels.start)
            given = part.given[where - part.channels.start]
            tried = _attempts(problem, constraint, given, time_limit, notes)
            found.append((problem.energy, *tried[0]))
            used = tried[1] or used
            done += len(where)
            progress(done)
    energy, error, best, lower = (
        np.concatenate([np.asarray(one[i]) for one in found]) for i in (0, 1, 3, 4)
    )
    quick = [one[2] for one in found]
    known = [one for one in quick if one is not None]
    joined = np.concatenate(known) if len(known) == len(quick) else None
    return Sample(energy, error, joined, best, lower), used, tuple(notes)


def _constraints(held: _Held, part: _Part, inside: Ints) -> list[tuple[Ints, Constraint]]:
    """Channels (of the layer) with the constraint each of them has to fulfil."""
    if not inside.size:
        return []
    grid = None if held.grid is None else held.grid.rows(inside)  # type: ignore[arg-type]
    if held.kind == QUANTIZATION:
        assert grid is not None
        return [(inside, grid)]
    local = inside - part.channels.start
    if held.pattern is not None:
        pattern = Pattern(*held.pattern)
        return [(inside, pattern if grid is None else Joint(grid, pattern))]
    counts = (part.given[local] != 0).sum(axis=1)
    found: list[tuple[Ints, Constraint]] = []
    for keep in np.unique(counts):
        which = np.flatnonzero(counts == keep)
        few = Sparse(int(keep))
        one = few if grid is None else Joint(grid.rows(which), few)  # type: ignore[arg-type]
        found.append((inside[which], one))
    return found


def _attempts(
    problem: Problem,
    constraint: Constraint,
    given: Floats,
    time_limit: float | None,
    notes: dict[str, None],
) -> tuple[tuple[Floats, Floats | None, Floats, Floats], str]:
    """Error as given, quick, best, and lower of some channels; and what proved the last."""
    kind, features = constraint.kind, problem.features
    error = problem.errors(given)
    best, lower = error, np.zeros_like(error)
    options = Options(Limits(time_limit))
    quick = _upper(problem, constraint, QUICK[kind], options, notes)
    tried = [quick]
    if features <= STRONG_WIDEST:
        tried += [_upper(problem, constraint, name, options, notes) for name in STRONG[kind]]
    method = ""
    wanted = ("exact",) if features <= SEARCHED else BOUNDS[kind]
    for name in (name for name in wanted if features <= WIDEST.get(name, features)):
        found = _answer(problem, constraint, name, options, notes)
        if found is not None:
            tried.append(found.upper)
            lower, method = found.lower, name
            break
    if not method and isinstance(constraint, Joint):
        # What no weights on the grid can beat, no sparse ones can.
        found = _answer(problem, constraint.grid, "sdp-shared", options, notes)
        lower, method = (lower, "") if found is None else (found.lower, "sdp-shared")
    for one in tried:
        if one is not None:
            best = np.minimum(best, one)
    slack = 2 * TOLERANCE * lower + ENERGY_FLOOR * problem.energy
    if (best < lower - slack).any():
        raise SolverError(
            f"channel {int(np.argmax(best < lower - slack))} of a sample has an error below the "
            "proven bound, which refutes the bound; please report this dump and these weights"
        )
    return (error, quick, best, np.minimum(lower, best)), method


def _upper(
    problem: Problem,
    constraint: Constraint,
    method: str,
    options: Options,
    notes: dict[str, None],
) -> Floats | None:
    found = _answer(problem, constraint, method, options, notes)
    return None if found is None else found.upper


def _answer(
    problem: Problem,
    constraint: Constraint,
    method: str,
    options: Options,
    notes: dict[str, None],
) -> Range | None:
    if method not in methods(constraint.kind):
        return None
    try:
        found = answer(problem, constraint, method, options)
    except MethodError as error:
        notes[f"{method} was left out: {error}."] = None
        return None
    notes.update(dict.fromkeys(found.notes))
    return found


def _volume(held: _Held, parts: Sequence[_Part]) -> float:
    """The volume bound of the layer's uniform grid, 0 for other grids and for pruning."""
    if held.kind == PRUNING or held.grid is None or not held.grid.uniform_levels:
        return 0.0
    total = 0.0
    for part in parts:
        grid = held.grid.rows(part.channels)
        total += volume_of(part.problem, grid, failure=1e-9 / len(parts)).lower
    return total


def _resemblance(w: Floats, given: Floats) -> tuple[str, ...]:
    """A remark where every input was multiplied by a factor of its own, as AWQ does."""
    squares = (w * w).sum(axis=0)
    factor = np.divide((given * w).sum(axis=0), squares, out=np.ones(w.shape[1]), where=squares > 0)
    before = float(np.square(given - w).sum())
    after = float(np.square(given - w * factor).sum())
    spread = float(np.abs(np.log(np.abs(factor[factor != 0]))).max(initial=0.0))
    if before > 10 * after and spread > 0.1:
        return (
            "Inputs were multiplied by factors of their own, as AWQ does: give the rescaled "
            "original with --against, and dumps made from it.",
        )
    return ()
