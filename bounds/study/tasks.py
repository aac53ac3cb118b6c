"""Tasks: one chunk, one problem, one method, all channels and bit widths; and their content keys.

A key is a digest of everything the numbers depend on, so a finished task is recognised whatever
the study is called and wherever its dumps lie, and a changed parameter touches only its own tasks.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import numpy as np

from bounds.study.config import LayerChoice, Study
from bounds.study.problems import PROBLEMS, QUANTIZATION

#: Raised whenever the columns of a result change, or what they mean.
RESULT_VERSION = 1


@dataclass(frozen=True)
class Layer:
    """A dump as the study uses it: which of its chunks, and which channels of each.

    ``chunk_total`` counts the chunks of the whole layer; ``chunks`` are the ones solved.
    """

    dump: Path
    dump_hash: str
    source: str
    name: str
    kind: str
    chunks: tuple[int, ...]
    chunk_total: int
    max_channels: int | None
    select: str


@dataclass(frozen=True)
class Task:
    """One chunk, one problem and one method, at every bit width of the study.

    ``rule`` is the scale rule for quantization and the rule for k for pruning; ``code`` is the
    ``code_digest`` of the solvers it was made for.
    """

    layer: Layer
    chunk: int
    chunk_size: int
    problem: str
    method: str
    bits: tuple[int, ...]
    rounding: str
    rule: str
    time_limit: float
    seed: int
    code: str

    @property
    def key(self) -> str:
        """Hexadecimal SHA-256 of all that the result depends on (not of paths)."""
        values = asdict(self)
        layer = values.pop("layer")
        for name in ("dump_hash", "max_channels", "select"):
            values[name] = layer[name]
        if layer["max_channels"] is None:
            del values["select"]
        values["result"] = RESULT_VERSION
        text = json.dumps(values, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def __str__(self) -> str:
        """As a message names it."""
        layer = self.layer
        return f"{layer.source} {layer.name} chunk {self.chunk}: {self.problem} {self.method}"


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
    from layers.dump import read_dump

    dump = read_dump(path)
    total = dump.chunk_count(chunk_size)
    return Layer(
        dump=path,
        dump_hash=dump.content_hash,
        source=dump.source,
        name=dump.layer,
        kind=dump.kind,
        chunks=thin_out(total, choice.max_chunks, choice.select),
        chunk_total=total,
        max_channels=choice.max_channels,
        select=choice.select,
    )


def make_tasks(study: Study, layers: Iterable[Layer]) -> list[Task]:
    """All tasks of a study in the order of its results: layer, chunk, problem, method."""
    solve = study.solve
    return [
        Task(
            layer=layer,
            chunk=chunk,
            chunk_size=solve.chunk,
            problem=problem,
            method=method,
            bits=solve.bits,
            rounding=solve.rounding,
            rule=solve.scale if problem == QUANTIZATION else solve.keep,
            time_limit=solve.time_limit,
            seed=study.seed,
            code=code_digest(problem),
        )
        for layer in layers
        for chunk in layer.chunks
        for problem in PROBLEMS
        for method in getattr(solve, problem)
    ]


@cache
def code_digest(problem: str) -> str:
    """Digest of the source code that computes ``problem``: a mended solver redoes its tasks."""
    package = Path(__file__).resolve().parent.parent
    files: Sequence[Path] = [
        *sorted(package.glob("*.py")),
        *sorted((package / problem).rglob("*.py")),
        package / "study" / "problems.py",
        package / "study" / "solving.py",
    ]
    digest = hashlib.sha256()
    for file in files:
        if file.name not in _NOT_SOLVING:
            digest.update(f"{file.relative_to(package)}\n".encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()


#: Modules beside the solvers that draw and print results, and cannot change them.
_NOT_SOLVING = frozenset(
    {"certificate.py", "errors.py", "figures.py", "ranges.py", "tables.py", "verdicts.py"}
)
