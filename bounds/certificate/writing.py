"""From solved chunks to a certificate file; every proof is checked before it is written."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from bounds.errors import CertificateError, MethodError
from bounds.problem.range import CERTIFIED, EXACT, HEURISTIC, TOLERANCE, Range
from layers.dump.layer import canonical_json
from layers.dump.whole_file import write_whole

if TYPE_CHECKING:
    from bounds.problem.grid import Grid
    from layers.dump.file import Chunk, LayerDump

#: Searches with more nodes are not repeated by the verifier: only their dual part is claimed.
SEARCH_NODES = 20_000_000
#: Largest tolerance that the verifier accepts (its TOLERANCE; it is loaded only where flint is).
MOST_TOLERANCE = 1e-6

Json = dict[str, Any]


@dataclass(frozen=True)
class Solved:
    """A chunk and the range a solver found for some of its channels.

    Attributes:
        chunk: as cut from the dump.
        channels: which of the chunk's channels ``found`` is about, counted from its first.
        found: the range, one entry a channel.
        bits: width of the grid, for quantization; ``scale``: its step, one or one a channel.
        grid: in their place, one of any kind, of these channels and inputs.
        keep: most nonzeros a channel, for pruning (without a box).
        rounding: ``fp16`` if the weights were rounded before, or ``none``.
        tolerance: relative gap up to which lower and upper count as equal; at most 1e-6.
        pairs: two-variable cuts a round, as ``quantization_range`` was given.
    """

    chunk: Chunk
    channels: Sequence[int]
    found: Range
    bits: int | None = None
    scale: ArrayLike | None = None
    keep: int | None = None
    rounding: str = "fp16"
    tolerance: float = TOLERANCE
    pairs: int = 0
    grid: Grid | None = None

    def __post_init__(self) -> None:
        """Raise CertificateError if it is not clear what was solved."""
        asked = [thing is not None for thing in (self.bits, self.grid, self.keep)]
        if sum(asked) != 1 or (self.bits is None) != (self.scale is None):
            raise CertificateError("give bits and scale (quantization), a grid, or keep (pruning)")
        if len(self.channels) != len(self.found.lower):
            raise CertificateError(
                f"{len(self.channels)} channels named, {len(self.found.lower)} solved"
            )
        if not len(self.channels):
            raise CertificateError(f"chunk {self.chunk.index} has no channels to certify")
        if not 0 <= self.tolerance <= MOST_TOLERANCE:
            raise CertificateError(
                f"a certificate's tolerance is from 0 to {MOST_TOLERANCE:g}, not {self.tolerance!r}"
            )


def write_certificate(
    path: str | Path,
    dump: LayerDump,
    solved: Iterable[Solved],
    *,
    search_nodes: int = SEARCH_NODES,
) -> tuple[str, ...]:
    """Write a certificate; the file appears whole or not at all.

    Args:
        path: the file, JSON lines.
        dump, solved, search_nodes: see ``certify``.

    Returns:
        Sentences on what could be claimed only in part.

    Raises:
        CertificateError: ranges that do not belong to the dump, or a file that cannot be written.
        MethodError: python-flint, the arithmetic of the proofs, is not installed.
    """
    data, notes = certify(dump, solved, search_nodes=search_nodes)
    try:
        write_whole(Path(path), data)
    except OSError as error:
        raise CertificateError(f"cannot write the certificate {path}: {error}") from error
    return notes


def certify(
    dump: LayerDump, solved: Iterable[Solved], *, search_nodes: int = SEARCH_NODES
) -> tuple[bytes, tuple[str, ...]]:
    """A certificate's bytes, every proof in it checked, and what could be claimed only in part.

    Args:
        dump: the layer the chunks were cut from.
        solved: what is certified.
        search_nodes: most nodes of a search that the verifier is asked to repeat.

    Raises:
        CertificateError: ranges that do not belong to the dump, or none.
        MethodError: python-flint, the arithmetic of the proofs, is not installed.
    """
    verify = load_verifier()
    verify.ctx.prec = verify.PRECISION
    notes: list[str] = []
    lines: list[Json] = [
        {
            "is": verify.FORMAT,
            "version": 1,
            "dump": dump.content_hash,
            "source": dump.source,
            "layer": dump.layer,
        }
    ]
    count = 0
    seen: set[tuple[int, str, str]] = set()
    for one in solved:
        if one.chunk.dump_hash != dump.content_hash:
            raise CertificateError(f"chunk {one.chunk.index} was cut from another dump")
        chunk_line, channel_lines, weaker = _certify(verify, dump, one, search_nodes)
        here: set[int] = set()
        for line in channel_lines:
            key = (line["channel"], str(chunk_line["features"]), line["problem"])
            if key in seen or key[0] in here:
                raise CertificateError(f"channel {key[0]} of features {key[1]} is given twice")
            seen.add(key)
            here.add(key[0])
        lines += [chunk_line, *channel_lines]
        if one.grid is not None:
            lines[0]["version"] = verify.LEVELED
        count += len(channel_lines)
        if weaker:
            notes.append(
                f"chunk {one.chunk.index}: {weaker} of {len(channel_lines)} channels claim less "
                "than the solver proved, because the whole proof would be too large"
            )
    if not count:
        raise CertificateError("nothing solved is given, so there is nothing to certify")
    body = "".join(canonical_json(line) + "\n" for line in lines).encode()
    end = {"is": "end", "channels": count, "sha256": hashlib.sha256(body).hexdigest()}
    return body + canonical_json(end).encode() + b"\n", tuple(notes)


def is_whole(path: Path) -> bool:
    """Whether ``path`` is a certificate that was written to its end: its seal is that of its bytes.

    Says nothing about the truth of its claims; that is for ``bounds.verify``.
    """
    try:
        body, _, last = path.read_bytes().removesuffix(b"\n").rpartition(b"\n")
        return json.loads(last)["sha256"] == hashlib.sha256(body + b"\n").hexdigest()
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False


def load_verifier() -> ModuleType:
    """``bounds.verify``, which needs python-flint.

    Raises:
        MethodError: that is not installed.
    """
    try:
        from bounds import verify
    except ImportError as error:
        raise MethodError(
            "certificates need python-flint: install layerbounds with the extra verify"
        ) from error
    return verify


def _certify(
    verify: ModuleType, dump: LayerDump, one: Solved, search_nodes: int
) -> tuple[Json, list[Json], int]:
    """The lines of a chunk and its channels, and how many claim less than the solver."""
    line = _chunk_line(one)
    try:
        chunk = verify.cut_chunk(dump, line)
    except verify.Refused as error:
        raise CertificateError(f"chunk {one.chunk.index} has no certificate: {error}") from error
    lines, weaker = [], 0
    for row, tried in enumerate(_candidates(one, chunk.weights, search_nodes)):
        channel = _channel_line(verify, chunk, one, row)
        task = _task(verify, chunk, one, row)
        # The verifier computes the attained error from the codes; numbers must agree with it.
        for lower, proof in tried:
            lower = float(min(lower, channel["upper"]))
            if not lower > 0:
                continue
            with contextlib.suppress(verify.Refused, ArithmeticError, ValueError):
                verify.check_proof(task, proof, lower, search_nodes)
                channel |= {"lower": lower, "proof": proof}
                break
        channel["status"] = _status(verify, channel, one.tolerance)
        if not channel["lower"] > 0 and one.found.status[row] == HEURISTIC:
            channel["status"] = HEURISTIC  # near zero, but nobody searched what lies below
        weaker += _rank(channel["status"]) > _rank(str(one.found.status[row]))
        lines.append(channel)
    return line, lines, weaker


def _chunk_line(one: Solved) -> Json:
    features = one.chunk.features
    size: Json = {"keep": one.keep} if one.bits is None else {"bits": int(one.bits)}
    task = "pruning" if one.bits is None else "quantization"
    if one.grid is not None:
        task = "levels"
        size = {"levels": one.grid.levels.tolist(), "group_size": _group_size(one, one.grid)}
    return {
        "is": "chunk",
        "task": task,
        "group": one.chunk.group,
        "features": [features.start, features.stop],
        "rounding": one.rounding,
        "tolerance": float(one.tolerance),
        **size,
    }


def _group_size(one: Solved, grid: Grid) -> int:
    """Inputs of a group; all of them where a channel has one step."""
    features = one.chunk.features
    return int(grid.group_size or 1) if grid.grouped else features.stop - features.start


def _candidates(
    one: Solved, weights: np.ndarray, search_nodes: int
) -> Iterator[Iterator[tuple[float, Json]]]:
    """For each channel the claims that may be made, strongest first, as (lower, proof)."""
    rows = np.ascontiguousarray(weights[list(one.channels)])
    if one.bits is not None:
        from bounds.certificate.quantized import quantization_proofs

        assert one.scale is not None
        return quantization_proofs(
            one.chunk.gram, rows, one.bits, one.scale, one.found, search_nodes, one.pairs
        )
    if one.grid is not None:
        from bounds.certificate.leveled import level_proofs

        return level_proofs(one.chunk.gram, rows, one.grid, one.found, search_nodes)
    from bounds.certificate.pruned import pruning_proofs

    assert one.keep is not None
    return pruning_proofs(one.chunk.gram, rows, one.keep, one.found, one.tolerance)


def _task(verify: ModuleType, chunk: Any, one: Solved, row: int) -> Any:
    weights = chunk.weights[one.channels[row]]
    if one.grid is not None:
        size = _group_size(one, one.grid)
        steps, zeros = (
            verify.spread(table, size, len(weights)) for table in _tables(one.grid, row)
        )
        return verify.Leveled(chunk, weights, one.grid.levels.tolist(), steps, zeros)
    if one.bits is None:
        return verify.Sparse(chunk, weights, one.keep)
    lo, hi = -(2 ** (one.bits - 1)), 2 ** (one.bits - 1) - 1
    return verify.Grid(chunk, weights, _step(one, row), lo, hi)


def _step(one: Solved, row: int) -> float:
    assert one.scale is not None
    return float(np.broadcast_to(np.asarray(one.scale, np.float64), (len(one.channels),))[row])


def _tables(grid: Grid, row: int) -> tuple[list[float], list[float]]:
    """Steps and zero points of a channel's groups."""
    own = grid.rows(slice(row, row + 1))
    return own.step[0].tolist(), own.zero[0].tolist()


def _channel_line(verify: ModuleType, chunk: Any, one: Solved, row: int) -> Json:
    """All but the lower value and its proof; energy and upper value are computed exactly."""
    task = _task(verify, chunk, one, row)
    attaining = one.found.weights[row]
    tables: list[list[float]] = []
    if one.grid is not None:
        levels = one.grid.levels
        own = one.grid.rows(slice(row, row + 1)).codes(attaining[None, :])[0]
        codes = [int(k) for k in np.searchsorted(levels, own)]
        steps, zeros = _tables(one.grid, row)
        solution: Json = {"steps": steps, "zeros": zeros, "codes": codes}
        attained = task.error(codes)
        numbers: list[Any] = [_group_size(one, one.grid), len(levels), len(steps)]
        tables = [levels.tolist(), steps, zeros]
    elif one.bits is None:
        support = [int(i) for i in np.flatnonzero(attaining)]
        solution = {"support": support, "values": [float(attaining[i]) for i in support]}
        attained = task.error([float(v) for v in attaining])
        numbers = [one.keep]
    else:
        codes = [int(z) for z in np.rint(attaining / task.step)]
        solution = {"step": task.step, "codes": codes}
        attained = task.error(codes)
        numbers = [task.step.hex(), task.lo, task.hi]
    return {
        "is": "channel",
        "channel": chunk.first + int(one.channels[row]),
        "problem": verify.problem_hash(chunk, task.weights, numbers, tables),
        "energy": verify.energy_of(chunk, task),
        "lower": 0.0,
        "upper": verify.round_up(max(attained, Fraction(0))),
        "proof": {"is": "none"},
        **solution,
    }


def _status(verify: ModuleType, channel: Json, tolerance: float) -> str:
    with contextlib.suppress(verify.Refused):
        verify.check_status(EXACT, channel["lower"], channel["upper"], channel["energy"], tolerance)
        return EXACT
    return CERTIFIED if channel["lower"] > 0 else HEURISTIC


def _rank(status: str) -> int:
    return (EXACT, CERTIFIED, HEURISTIC).index(status)
