"""Tasks: one chunk, one problem, one method, all channels and bit widths; and their content keys.

Every bit width of a task has a key of its own: a digest of everything its numbers depend on. So a
finished result is recognised whatever the study is called and wherever its dumps lie, and a changed
parameter touches only the results that depend on it.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from bounds.problem.methods import PROBLEMS, QUANTIZATION, find_method
from bounds.problem.rule import GridRule
from bounds.study.plan.config import LayerChoice, Study
from bounds.study.plan.digest import code_digest

#: Raised whenever the columns of a result change, or what they mean.
RESULT_VERSION = 3


@dataclass(frozen=True)
class Layer:
    """A dump as the study uses it: which of its chunks, and which channels of each.

    ``chunk_total`` counts the chunks of the whole layer; ``chunks`` are the ones solved.
    ``max_channels`` is None when all channels of a chunk are solved, ``channels`` of them.
    """

    dump: Path
    dump_hash: str
    source: str
    name: str
    kind: str
    chunks: tuple[int, ...]
    chunk_total: int
    channels: int
    max_channels: int | None
    select: str


@dataclass(frozen=True)
class Task:
    """One chunk, one problem and one method, at every bit width of the study.

    ``rule`` is the scale rule for quantization and the rule for k for pruning; ``code`` is the
    ``code_digest`` of the solvers it was made for. ``grid``, the text of a ``GridRule``, is a grid
    of the whole layer in place of the scale rule, and ``bits`` are its own. Limits and ``seed`` are
    None for the methods that ignore them (a time limit is None also when there is none).
    ``certificates`` says whether a result is finished only with its certificate; it changes no
    result and is in no key.
    """

    layer: Layer
    chunk: int
    chunk_size: int
    problem: str
    method: str
    bits: tuple[int, ...]
    rounding: str
    rule: str
    time_limit: float | None
    node_limit: int | None
    seed: int | None
    code: str
    certificates: bool = False
    grid: str | None = None

    def key(self, bits: int) -> str:
        """Hexadecimal SHA-256 of all that the result at ``bits`` depends on (not of paths)."""
        values = asdict(self)
        layer = values.pop("layer")
        del values["certificates"]
        if self.grid is None:
            del values["grid"]
        for name in ("dump_hash", "max_channels", "select"):
            values[name] = layer[name]
        if layer["max_channels"] is None:
            del values["select"]
        values["bits"] = bits
        values["result"] = RESULT_VERSION
        text = json.dumps(values, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def size(self) -> int:
        """Problems in it: channels times bit widths."""
        return self.layer.channels * len(self.bits)

    def __str__(self) -> str:
        """As a message names it."""
        layer = self.layer
        return f"{layer.source} {layer.name} chunk {self.chunk}: {self.problem} {self.method}" + (
            "" if self.grid is None else f" on {self.grid}"
        )


def thin_out(total: int, wanted: int | None, select: str) -> tuple[int, ...]:
    """At most ``wanted`` of ``total`` indices: evenly spaced with both ends, or the first."""
    if wanted is None or wanted >= total:
        return tuple(range(total))
    if select == "first":
        return tuple(range(wanted))
    return tuple(int(i) for i in np.linspace(0, total - 1, wanted).round())


def study_layer(path: Path, choice: LayerChoice, chunk_size: int) -> Layer:
    """Read a dump's identity and pick its chunks.

    Raises:
        DumpError: the dump cannot be used.
    """
    from layers.dump.file import read_dump

    dump = read_dump(path)
    total = dump.chunk_count(chunk_size)
    # A chunk lies in one group of a grouped convolution and has the channels of that group.
    channels = dump.channels // dump.groups
    fewer = choice.max_channels is not None and choice.max_channels < channels
    return Layer(
        dump=path,
        dump_hash=dump.content_hash,
        source=dump.source,
        name=dump.layer,
        kind=dump.kind,
        chunks=thin_out(total, choice.max_chunks, choice.select),
        chunk_total=total,
        channels=min(choice.max_channels or channels, channels),
        max_channels=choice.max_channels if fewer else None,
        select=choice.select,
    )


def make_tasks(study: Study, layers: Iterable[Layer]) -> list[Task]:
    """All tasks of a study in the order of its results: layer, chunk, problem, method."""
    return [
        _task(study, layer, chunk, problem, grid, method)
        for layer in layers
        for chunk in layer.chunks
        for problem in PROBLEMS
        for grid in ((study.solve.grids if problem == QUANTIZATION else ()) or (None,))
        for method in getattr(study.solve, problem)
    ]


def _task(
    study: Study, layer: Layer, chunk: int, problem: str, grid: str | None, method: str
) -> Task:
    solve = study.solve
    made = None if grid is None else GridRule.parse(grid)
    plain = solve.scale if problem == QUANTIZATION else solve.keep
    takes = find_method(problem, method).takes
    limited = "limits" in takes
    timed = limited and math.isfinite(solve.time_limit)
    return Task(
        layer=layer,
        chunk=chunk,
        chunk_size=solve.chunk,
        problem=problem,
        method=method,
        bits=solve.bits if made is None else (made.bits,),
        rounding=solve.rounding,
        rule=plain if made is None else made.observer,
        time_limit=float(solve.time_limit) if timed else None,
        node_limit=solve.node_limit if limited else None,
        seed=study.seed if "seed" in takes else None,
        code=code_digest(problem, method),
        certificates=solve.certificates,
        grid=grid,
    )
