"""The fair fight: pruning, quantization, N:M and joint, each at its best, at equal true bits.

For sampled channels of sampled chunks of each dump every side is solved exactly over all its
settings: every k, with equal shares and with a budget shared by channels; every width, with the
step a rule chooses and with the best one; codes and places together. True bits count codes, 16-bit
values, steps, and masks at their entropy or at one bit a weight.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bounds.errors import StudyError
from bounds.joint.outliers import outlier_range
from bounds.layer.budget import budget_tables, shared_budget
from bounds.layer.free_step import free_step_range
from bounds.problem.answer import answer
from bounds.problem.attempt import Options
from bounds.problem.gram import Problem, check_problem, round_weights
from bounds.problem.grid import Grid, choose_scale
from bounds.problem.joint import Joint
from bounds.problem.limits import Limits
from bounds.problem.range import EXACT, Range
from bounds.problem.sparsity import Pattern, Sparse
from bounds.problem.storage import VALUE_BITS, mask_bits
from bounds.results.fair import (
    CHANNEL,
    FAMILIES,
    JOINT,
    JOINT_N_OF_M,
    N_OF_M,
    OUTLIERS,
    PRUNING,
    RULED,
    SHARED,
    TENSOR,
    FairRow,
    read_fair,
    write_fair,
)
from bounds.study.plan.tasks import thin_out

Floats = NDArray[np.float64]

#: Steps tried for a joint problem, in units of the one that rounds the weights best.
STEPS = (0.7, 0.85, 1.0, 1.2, 1.45, 1.75, 2.1)
#: The same for grids that need not reach the outliers.
OUTLIER_STEPS = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


@dataclass(frozen=True)
class FairStudy:
    """What is sampled and solved.

    Attributes:
        chunk: inputs of a chunk; chunks, channels: how many of each layer and of each chunk.
        widths: of codes; joint_widths: of codes that are sparse too.
        kept: shares of the weights that joint problems keep; patterns: (N, M).
        outliers: weights of a channel that are kept off the grid, at ``outlier_widths``.
        time_limit: seconds a search.
    """

    chunk: int = 36
    chunks: int = 2
    channels: int = 16
    widths: tuple[int, ...] = (2, 3, 4, 5, 6, 7, 8)
    joint_widths: tuple[int, ...] = (2, 3, 4, 5, 6, 8)
    kept: tuple[float, ...] = (0.25, 0.375, 0.5, 0.625, 0.75, 0.875)
    patterns: tuple[tuple[int, int], ...] = ((1, 4), (2, 4), (3, 4))
    outliers: tuple[int, ...] = (1,)
    outlier_widths: tuple[int, ...] = (2, 3, 4, 5, 6)
    time_limit: float = 2.0


def run_fair(
    dumps: Sequence[Path],
    folder: Path,
    study: FairStudy | None = None,
    workers: int = 2,
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> list[FairRow]:
    """Solve every piece of ``dumps``; rows go to ``fair.parquet`` in ``folder``.

    Each piece is kept as soon as it is done: run again, only what is missing is solved.

    Raises:
        StudyError: no dumps.  DumpError: one that cannot be read.
    """
    study = study or FairStudy()
    if not dumps:
        raise StudyError("the fair study needs dumps of layers; extract some first")
    names = {
        folder / "pieces" / f"{path.stem}-{number}-{_key(path, study)}.parquet": (path, number)
        for path in dumps
        for number in _chunk_numbers(path, study)
    }
    missing = [kept for kept in names if not kept.is_file()]
    with ProcessPoolExecutor(workers) as pool:
        jobs = {pool.submit(solve_piece, *names[kept], study): kept for kept in missing}
        for done, job in enumerate(as_completed(jobs), start=len(names) - len(missing) + 1):
            write_fair(jobs[job], job.result())
            progress(done, len(names))
    rows = [row for kept in names for row in read_fair(kept)]
    rows.sort(key=lambda r: (r.layer, r.chunk, FAMILIES.index(r.family), r.bits_entropy))
    write_fair(folder / "fair.parquet", rows)
    return rows


def _key(path: Path, study: FairStudy) -> str:
    """A digest of what a piece's rows depend on."""
    from layers.dump.file import read_dump

    return sha256(f"{read_dump(path).content_hash} {study}".encode()).hexdigest()[:16]


def _chunk_numbers(path: Path, study: FairStudy) -> Sequence[int]:
    from layers.dump.file import read_dump

    chunks = list(read_dump(path).chunks(study.chunk))
    # the last one may be a few inputs only
    whole = [i for i, c in enumerate(chunks) if 2 * c.weights.shape[1] >= study.chunk] or [0]
    return [whole[i] for i in thin_out(len(whole), study.chunks, "even")]


def solve_piece(path: Path, number: int, study: FairStudy) -> list[FairRow]:
    """All sides on one chunk of a dump."""
    from layers.dump.file import read_dump

    dump = read_dump(path)
    chunk = list(dump.chunks(study.chunk))[number]
    every = round_weights(chunk.weights, "fp16")
    some = list(thin_out(len(every), study.channels, "even"))
    problem = check_problem(chunk.gram, every[some])
    blank = FairRow(
        f"{dump.source} {dump.layer}", number, problem.channels, problem.features, "", "", 0.0, 0.0,
        float(problem.energy.sum()), 0.0, 0.0, 0, 0.0,
    )  # fmt: skip
    options = Options(Limits(study.time_limit))
    return [
        *_pruned(problem, blank, study, options),
        *_quantized(problem, every, blank, study, options),
        *_joint(problem, every, blank, study, options),
        *_outliers(problem, every, blank, study),
    ]


def _row(blank: FairRow, family: str, setting: str, found: Range, bits: tuple[float, float]):
    return replace(
        blank, family=family, setting=setting, bits_entropy=bits[0], bits_mask=bits[1],
        lower=float(found.lower.sum()), upper=float(found.upper.sum()), exact=found.count(EXACT),
        seconds=found.seconds,
    )  # fmt: skip


def _sparse_bits(share: float, value: float) -> tuple[float, float]:
    """True bits a weight with this share kept at ``value`` bits, both accounts of the mask."""
    return value * share + mask_bits(1 - share, "entropy"), value * share + 1.0


def _pattern_bits(pattern: tuple[int, int], value: float) -> tuple[float, float]:
    """The same for N of every M: the entropy of a place is that of a choice of N."""
    from math import comb, log2

    most, size = pattern
    return value * most / size + log2(comb(size, most)) / size, value * most / size + 1.0


def _pruned(
    problem: Problem, blank: FairRow, study: FairStudy, options: Options
) -> Iterator[FairRow]:
    channels, n = problem.channels, problem.features
    began = time.perf_counter()
    tables = budget_tables(problem, None, options)
    tables.want(np.ones((channels, n + 1), bool))
    seconds = (time.perf_counter() - began) / n
    for k in range(1, n):
        bits = _sparse_bits(k / n, VALUE_BITS)
        yield replace(
            blank, family=PRUNING, setting=f"k={k}", bits_entropy=bits[0], bits_mask=bits[1],
            lower=float(tables.lower[:, k].sum()), upper=float(tables.upper[:, k].sum()),
            exact=int((tables.upper[:, k] <= tables.lower[:, k] * (1 + 1e-9)).sum()),
            seconds=seconds,
        )  # fmt: skip
        both = shared_budget(problem, tables, k * channels)
        yield replace(
            blank, family=SHARED, setting=f"K={k * channels}", bits_entropy=bits[0],
            bits_mask=bits[1], lower=both.lower, upper=both.upper,
            exact=channels * int(both.upper <= both.lower * (1 + 1e-9)), seconds=seconds,
        )  # fmt: skip
    for most, size in study.patterns:
        found = answer(problem, Pattern(most, size), "exact", options)
        yield _row(blank, N_OF_M, f"{most}:{size}", found, _pattern_bits((most, size), VALUE_BITS))


def _quantized(
    problem: Problem, every: Floats, blank: FairRow, study: FairStudy, options: Options
) -> Iterator[FairRow]:
    n, weights = problem.features, problem.weights
    tensor = VALUE_BITS / every.size
    for width in study.widths:
        step = choose_scale(every, width, "mse")
        found = answer(problem, Grid.uniform(width, step), "exact", options)
        yield _row(blank, RULED, f"{width} bits", found, (width + tensor, width + tensor))
        for family, per, beside in ((TENSOR, "tensor", tensor), (CHANNEL, "channel", 16 / n)):
            began = time.perf_counter()
            free = free_step_range(
                problem.gram, weights, bits=width, per=per, time_limit=study.time_limit
            )
            yield replace(
                blank, family=family, setting=f"{width} bits", bits_entropy=width + beside,
                bits_mask=width + beside, lower=float(free.lower.sum()),
                upper=float(free.upper.sum()), exact=0, seconds=time.perf_counter() - began,
            )  # fmt: skip


def _joint(
    problem: Problem, every: Floats, blank: FairRow, study: FairStudy, options: Options
) -> Iterator[FairRow]:
    n, tensor = problem.features, VALUE_BITS / every.size
    budgets = [(Sparse(round(share * n)), None) for share in study.kept]
    budgets += [(Pattern(*pattern), pattern) for pattern in study.patterns]
    for width in study.joint_widths:
        ruled = float(choose_scale(every, width, "mse"))  # type: ignore[arg-type]
        for budget, pattern in budgets:
            joints = [Joint(Grid.uniform(width, ruled * step), budget) for step in STEPS]
            tried = [answer(problem, joint, "descent", options).upper.sum() for joint in joints]
            found = answer(problem, joints[int(np.argmin(tried))], "exact", options)
            if pattern is None:
                assert isinstance(budget, Sparse)
                entropy, mask = _sparse_bits(budget.keep / n, width)
                name, family = f"{width} bits, k={budget.keep}", JOINT
            else:
                entropy, mask = _pattern_bits(pattern, width)
                name, family = f"{width} bits, {pattern[0]}:{pattern[1]}", JOINT_N_OF_M
            yield _row(blank, family, name, found, (entropy + tensor, mask + tensor))


def _outliers(
    problem: Problem, every: Floats, blank: FairRow, study: FairStudy
) -> Iterator[FairRow]:
    n, tensor = problem.features, VALUE_BITS / every.size
    place = np.ceil(np.log2(max(n, 2)))
    for width in study.outlier_widths:
        ruled = float(choose_scale(every, width, "mse"))  # type: ignore[arg-type]
        for k in study.outliers:
            ways = {"outliers": k, "bits": width, "time_limit": study.time_limit}
            tried = [
                outlier_range(
                    problem.gram, problem.weights, scale=ruled * step, method="gptq", **ways
                ).upper.sum()
                for step in OUTLIER_STEPS
            ]
            step = ruled * OUTLIER_STEPS[int(np.argmin(tried))]
            found = outlier_range(problem.gram, problem.weights, scale=step, **ways)
            share = k / n
            # either the outliers have no code and their places are coded, or, as shipped, all
            # weights have one and each outlier a value and an index beside
            entropy = width * (1 - share) + VALUE_BITS * share + mask_bits(1 - share, "entropy")
            shipped = width + share * (VALUE_BITS + place)
            yield replace(
                blank, family=OUTLIERS, setting=f"{width} bits, {k} kept",
                bits_entropy=entropy + tensor, bits_mask=shipped + tensor,
                lower=float(found.lower.sum()), upper=float(found.upper.sum()),
                exact=int(found.exact.sum()), seconds=found.seconds,
            )  # fmt: skip
