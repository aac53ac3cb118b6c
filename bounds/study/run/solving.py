"""One task solved: a chunk's numbers in, one row per bit width out, or the reason why not."""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bounds.errors import StudyError
from bounds.linalg.forms import form
from bounds.problem.answer import answer
from bounds.problem.attempt import Options
from bounds.problem.gram import check_problem, round_weights
from bounds.problem.grid import Grid, choose_scale
from bounds.problem.limits import Limits
from bounds.problem.methods import PRUNING, QUANTIZATION, find_method
from bounds.problem.range import CERTIFIED, EXACT, HEURISTIC, Range, snr
from bounds.problem.slices import Progress
from bounds.problem.sparsity import choose_keep, paper_box, sparsity
from bounds.study.plan.digest import code_digest
from bounds.study.plan.tasks import Task, thin_out

if TYPE_CHECKING:
    from layers.dump.file import Chunk, LayerDump

Floats = NDArray[np.float64]
Row = dict[str, Any]
#: From best to worst: a mixture of ranges is only as good as its worst part.
_RANKS = (EXACT, CERTIFIED, HEURISTIC)


@dataclass(frozen=True)
class Piece:
    """The numbers of a task: rounded weights (channels, n) of a chunk, and which ones they are.

    ``all_weights`` (all channels, n) are those the quantization step is chosen on.
    """

    chunk: Chunk
    all_weights: Floats
    channels: tuple[int, ...]

    @property
    def weights(self) -> Floats:
        """Weights (channels, n) that are solved."""
        return self.all_weights[list(self.channels)]

    @property
    def features(self) -> int:
        """Input features n."""
        return self.all_weights.shape[1]


def read_piece(task: Task) -> Piece:
    """The chunk of a task, its weights rounded as the task says.

    Raises:
        DumpError: the dump cannot be used.  StudyError: it is not the dump the task was made for.
        ProblemError: its weights do not fit the format they are to be rounded to.
    """
    dump, chunks = _chunks(task.layer.dump, task.chunk_size)
    if dump.content_hash != task.layer.dump_hash:
        raise StudyError(f"{task.layer.dump} changed while the study ran; run the study again")
    chunk = chunks[task.chunk]
    weights = round_weights(chunk.weights, task.rounding)
    channels = thin_out(len(weights), task.layer.max_channels, task.layer.select)
    return Piece(chunk, weights, channels)


@lru_cache(maxsize=2)
def _chunks(dump: Path, size: int) -> tuple[LayerDump, list[Chunk]]:
    # Tasks of one layer follow each other, so two layers in memory serve all workers.
    from layers.dump.file import read_dump

    layer = read_dump(dump)
    return layer, list(layer.chunks(size))


@dataclass(frozen=True)
class Part:
    """A range that a result is made of, its share in it, and its step or number of weights kept.

    ``scale`` is one step or (channels,). Pruning with interpolated k has two parts, all else one.
    """

    found: Range
    share: float = 1.0
    scale: Floats | None = None
    keep: int | None = None


@dataclass(frozen=True)
class Failure:
    """Why a task has no result at these bit widths."""

    bits: tuple[int, ...]
    message: str


def solve_task(
    task: Task,
    wanted: Sequence[int] | None = None,
    piece: Piece | None = None,
    store: Callable[[Row, bytes | None], object] = lambda _row, _certificate: None,
    stopped: Callable[[], bool] = lambda: False,
) -> tuple[list[Row], list[Failure]]:
    """Rows of a task, one per bit width, with the columns of ``bounds.results.table.SCHEMA``.

    What goes wrong at one bit width is told as a failure, and the others are solved.

    Args:
        task: what to solve.
        wanted: only these bit widths of it.
        piece: its numbers, if they are at hand; else they are read from the dump.
        store: takes every row, with its certificate if the task wants one, as soon as it is there.
        stopped: asked before every bit width; when true, the rest is left out.

    Raises:
        StorageError: from ``store``, which stops everything.
    """
    wanted = task.bits if wanted is None else tuple(wanted)
    try:
        if code_digest(task.problem, task.method) != task.code:
            raise StudyError(
                "the process that solves has other solvers than the one that started the study; "
                "install the same layerbounds on every machine, and run the study again"
            )
        piece = piece or read_piece(task)
    except Exception as error:  # whatever it was: the other tasks do not depend on it
        return [], [Failure(wanted, describe(error))]
    rows: list[Row] = []
    failed: dict[str, tuple[int, ...]] = {}
    for bits in wanted:
        if stopped():
            break
        try:
            started = time.perf_counter()
            parts = _solve(task, piece, bits)
            row = _row(task, piece, bits, parts, started)
            certificate = _certify(task, piece, bits, parts) if task.certificates else None
        except Exception as error:
            message = describe(error)
            failed[message] = (*failed.get(message, ()), bits)
            continue
        store(row, certificate)
        rows.append(row)
    return rows, [Failure(bits, message) for message, bits in failed.items()]


def describe(error: BaseException) -> str:
    """An error in one line, for a person: its kind and what it says."""
    return f"{type(error).__name__}: {error}".removesuffix(": ")


def quantize(
    piece: Piece,
    bits: int,
    method: str,
    *,
    rule: str,
    time_limit: float | None,
    node_limit: int | None = None,
    seed: int = 0,
    pairs: int = 0,
    progress: Progress | None = None,
) -> tuple[Range, Floats]:
    """Range of a piece at ``bits`` bits, and its quantization step, or (channels,) of them.

    ``progress`` is told the channels done, as by ``bounds.problem.answer``.
    """
    # The step belongs to the chunk over all its channels, whichever of them are solved.
    steps = np.asarray(choose_scale(piece.all_weights, bits, rule=rule))
    scale = steps[list(piece.channels)] if steps.ndim else steps
    find_method(QUANTIZATION, method)
    problem = check_problem(piece.chunk.gram, piece.weights)
    options = Options(Limits(_limit(time_limit), node_limit), seed, pairs)
    found = answer(problem, Grid.uniform(bits, scale), method, options, progress=progress)
    return found, scale


def prune(
    piece: Piece,
    keep: int | None,
    method: str,
    *,
    time_limit: float | None,
    node_limit: int | None = None,
    pattern: tuple[int, int] | None = None,
    box: float | None = None,
    progress: Progress | None = None,
) -> Range:
    """Range of a piece with at most ``keep`` weights a channel, or N of every M.

    ``box``: factor of the paper's box around the chunk's weights, over all its channels, whichever
    of them are solved. ``progress`` is told the channels done, as by ``bounds.problem.answer``.
    """
    find_method(PRUNING, method)
    problem = check_problem(piece.chunk.gram, piece.weights)
    edges = None if box is None else paper_box(piece.all_weights, box)
    options = Options(Limits(_limit(time_limit), node_limit))
    return answer(problem, sparsity(keep, pattern, edges), method, options, progress=progress)


def _limit(seconds: float | None) -> float | None:
    return None if seconds is None or math.isinf(seconds) else seconds


def _solve(task: Task, piece: Piece, bits: int) -> list[Part]:
    limits = {"time_limit": task.time_limit, "node_limit": task.node_limit}
    if task.problem == QUANTIZATION:
        found, scale = quantize(
            piece, bits, task.method, rule=task.rule, seed=task.seed or 0, **limits
        )
        return [Part(found, scale=scale)]
    return [
        Part(prune(piece, keep, task.method, **limits), share, keep=keep)
        for keep, share in choose_keep(piece.features, bits, task.rule).parts
    ]


def _certify(task: Task, piece: Piece, bits: int, parts: Sequence[Part]) -> bytes:
    """The certificate of a result, one chunk line for each of its parts."""
    from bounds.certificate import Solved, certify

    dump, _ = _chunks(task.layer.dump, task.chunk_size)
    size = bits if task.problem == QUANTIZATION else None
    solved = [
        Solved(piece.chunk, piece.channels, part.found, size, part.scale, part.keep, task.rounding)
        for part in parts
    ]
    return certify(dump, solved)[0]


def _row(task: Task, piece: Piece, bits: int, parts: Sequence[Part], started: float) -> Row:
    ranges, shares = [part.found for part in parts], [part.share for part in parts]
    scale, k = parts[0].scale, None
    if task.problem == PRUNING:
        k = choose_keep(piece.features, bits, task.rule).recorded
    lower, upper = _mix([r.lower for r in ranges], shares), _mix([r.upper for r in ranges], shares)
    energy, status = ranges[0].energy, _worst(ranges)
    heldout_energy, heldout_error = _heldout(piece, ranges, shares)
    return {
        "source": task.layer.source,
        "layer": task.layer.name,
        "kind": task.layer.kind,
        "dump_hash": task.layer.dump_hash,
        "chunk": task.chunk,
        "chunk_total": task.layer.chunk_total,
        "group": piece.chunk.group,
        "features": piece.features,
        "channels": len(piece.channels),
        "channel_total": len(piece.all_weights),
        "problem": task.problem,
        "method": task.method,
        "bits": bits,
        "k": k,
        "scale": None if scale is None else float(np.mean(scale)),
        "rounding": task.rounding,
        "rule": task.rule,
        "time_limit": task.time_limit,
        "node_limit": task.node_limit,
        "seed": task.seed,
        "energy": float(energy.sum()),
        "lower": float(lower.sum()),
        "upper": float(upper.sum()),
        "snr_bound": snr(energy, lower),
        "snr_attained": snr(energy, upper),
        "exact": int((status == EXACT).sum()),
        "certified": int((status == CERTIFIED).sum()),
        "heuristic": int((status == HEURISTIC).sum()),
        "heldout_energy": heldout_energy,
        "heldout_error": heldout_error,
        "heldout_snr": snr(heldout_energy, heldout_error),
        "nodes": int(sum(r.nodes.sum() for r in ranges)),
        "seconds": time.perf_counter() - started,
        "notes": " ".join(dict.fromkeys(note for r in ranges for note in r.notes)),
        "versions": versions(),
        "code": task.code,
        "key": task.key(bits),
    }


def _mix(values: list[Floats], shares: list[float]) -> Floats:
    return sum((share * v for share, v in zip(shares, values, strict=True)), np.zeros(1))


def _worst(ranges: list[Range]) -> NDArray[np.str_]:
    ranks = np.max([[_RANKS.index(s) for s in r.status] for r in ranges], axis=0)
    return np.array(_RANKS)[ranks]


def _heldout(piece: Piece, ranges: list[Range], shares: list[float]) -> tuple[float, float]:
    """Energy, and error of the attained weights, on the held-out inputs, summed over channels."""
    gram = piece.chunk.heldout_gram
    if gram is None:
        return math.nan, math.nan
    energy = float(form(gram, piece.weights).sum())
    errors = [float(form(gram, r.weights - piece.weights).sum()) for r in ranges]
    return energy, float(sum(share * e for share, e in zip(shares, errors, strict=True)))


@cache
def versions() -> str:
    """Versions of what computed a row: ``layerbounds 0.1.0, numpy ..., Python 3.11.7``."""
    packages = ("layerbounds", "numpy", "scipy", "numba", "cvxpy", "scs", "pyscipopt")
    found = []
    for name in packages:
        try:
            found.append(f"{name} {version(name)}")
        except ModuleNotFoundError:  # pragma: no cover - a source tree that is not installed
            continue
    return ", ".join([*found, f"Python {platform.python_version()}"])
