"""``layerbounds solve`` and ``layerbounds methods``: one layer, and what can be asked of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bounds.cli.grids import Asymmetric, GridOption, GroupSize, Observer, Strategy, grid_rule

if TYPE_CHECKING:
    from rich.table import Table

    from bounds.certificate import Solved
    from bounds.problem.range import Range
    from bounds.study.run.solving import ChunkProblem
    from layers.dump.file import Chunk, LayerDump


def solve(
    dump: Annotated[Path, typer.Argument(help="A dump written by `layerbounds extract`.")],
    problem: Annotated[str, typer.Option(help="quantization or pruning.")] = "quantization",
    method: Annotated[str, typer.Option(help="See `layerbounds methods`.")] = "exact",
    bits: Annotated[
        int | None, typer.Option(help="Bit width; for pruning, k = floor(n bits / 16).")
    ] = None,
    keep: Annotated[int | None, typer.Option(help="Weights kept a channel (pruning).")] = None,
    pattern: Annotated[
        str | None, typer.Option(help="2:4 keeps 2 of every 4 inputs (pruning).")
    ] = None,
    box: Annotated[
        float | None,
        typer.Option(help="Weights stay within this factor of the chunk's extremes (pruning)."),
    ] = None,
    chunk: Annotated[str, typer.Option(help='A chunk from 0, or "all".')] = "0",
    channel: Annotated[str, typer.Option(help='An output channel from 0, or "all".')] = "all",
    size: Annotated[int, typer.Option(help="Input features of a chunk.")] = 36,
    scale: Annotated[
        str, typer.Option(help="Rule for the quantization step: mse, minmax, or *-channel.")
    ] = "mse",
    rounding: Annotated[
        str, typer.Option(help="fp16 rounds the weights first, as the paper does; or none.")
    ] = "fp16",
    time_limit: Annotated[float, typer.Option(help="Seconds a channel; inf for none.")] = 10.0,
    seed: Annotated[int, typer.Option(help="Seed of randomised methods.")] = 0,
    certificate: Annotated[
        Path | None,
        typer.Option(help="Write what is proven here, for `layerbounds verify`."),
    ] = None,
    pairs: Annotated[
        int, typer.Option(help="Two-variable cuts a round may add (sdp, park-boyd); n is plenty.")
    ] = 0,
    grid: GridOption = None,
    group_size: GroupSize = None,
    asymmetric: Asymmetric = False,
    strategy: Strategy = None,
    observer: Observer = None,
) -> None:
    """Solve chunks of one layer and print their ranges."""
    from rich.console import Console

    from bounds.cli.waiting import following
    from bounds.errors import Interrupted, ProblemError

    check_asked(problem, method, bits, size, scale, rounding, time_limit, pairs, box)
    groups = _one_size(problem, bits, keep, pattern, grid)
    rule = grid_rule(grid, group_size, asymmetric, strategy, observer)
    if rule is not None and scale != "mse":
        raise ProblemError("--scale is for --bits; a grid has --observer")
    if certificate is not None:
        check_certifiable(certificate, groups, box)
    stopped = False
    results: list[tuple[ChunkProblem, Range]] = []
    with following("channels") as follow:
        from bounds.problem.gram import round_weights
        from bounds.problem.sparsity import choose_keep
        from bounds.study.run.solving import (
            ChunkProblem,
            layer_grid,
            prune,
            quantize,
            quantize_on,
            true_bits,
        )
        from layers.dump.file import read_dump

        layer = read_dump(dump)
        picked = _pick(layer, chunk, channel, size)
        total, done = sum(len(channels) for _, channels in picked), 0
        for part, channels in picked:
            piece = ChunkProblem(part, round_weights(part.weights, rounding), channels)

            def progress(more: int, done: int = done) -> None:
                follow(done + more, total)

            progress(0)
            try:
                if rule is not None:
                    result = quantize_on(
                        piece, layer, layer_grid(layer, rule, rounding), method,
                        time_limit=time_limit, seed=seed, pairs=pairs, progress=progress,
                    )  # fmt: skip
                elif problem == "quantization":
                    assert bits is not None
                    result, _ = quantize(
                        piece, bits, method, rule=scale, time_limit=time_limit, seed=seed,
                        pairs=pairs, progress=progress,
                    )  # fmt: skip
                else:
                    k = choose_keep(piece.features, bits, "floor").parts[0][0] if bits else keep
                    result = prune(
                        piece, None if groups else k, method, time_limit=time_limit,
                        pattern=groups, box=box, progress=progress,
                    )  # fmt: skip
            except Interrupted as stop:
                result, stopped = stop.found, True
            except KeyboardInterrupt:
                if not results:
                    raise
                stopped = True
                break
            results.append((replace(piece, channels=channels[: len(result.lower)]), result))
            if stopped:
                break
            done += len(channels)
    console = Console()
    what = f"{bits} bits" if bits is not None else f"keep {pattern or keep}"
    if rule is not None:
        own = true_bits(layer, layer_grid(layer, rule, rounding))
        what = f"{rule} ({own:.5g} bits a weight in all)"
    what += "" if box is None else f" in a box of factor {box:g}"
    console.print(f"{layer.source} {layer.layer}: {problem}, {what}, {method}", highlight=False)
    console.print(_table(results))
    solved = sum(len(piece.channels) for piece, _ in results)
    if stopped:
        console.print(
            f"stopped: {solved} of {total} channels were solved, and the table is about them",
            highlight=False,
        )
    notes = [note for _, result in results for note in result.notes]
    if certificate is not None:
        from bounds.certificate import write_certificate

        with following("proofs"):
            notes += write_certificate(
                certificate, layer, [_solved(*one, rounding, pairs) for one in results]
            )
        console.print(f"certificate: {certificate}", highlight=False, soft_wrap=True)
    for note in dict.fromkeys(notes):
        console.print(f"note: {note}", highlight=False)
    if stopped:
        raise Interrupted(results)


def check_asked(
    problem: str,
    method: str,
    bits: int | None,
    size: int,
    scale: str,
    rounding: str,
    time_limit: float,
    pairs: int,
    box: float | None,
) -> None:
    """Refuse what cannot be asked, before anything is read: by the rules of a study's [solve]."""
    from bounds.errors import ProblemError
    from bounds.problem.methods import check_problem_name
    from bounds.study.plan.config import Solve, check

    check_problem_name(problem)
    check(
        Solve,
        {
            problem: (method,),
            "chunk": size,
            "bits": (4 if bits is None else bits,),
            "scale": scale,
            "rounding": rounding,
            "time_limit": time_limit,
        },
    )
    if pairs and problem != "quantization":
        raise ProblemError("--pairs is for quantization")
    if box is not None and problem != "pruning":
        raise ProblemError("--box is for pruning")


def check_certifiable(path: Path, pattern: tuple[int, int] | None, box: float | None) -> None:
    """Say now, not after hours of solving, why there would be no certificate."""
    import os

    from bounds.certificate import load_verifier
    from bounds.errors import CertificateError, ProblemError

    for option, given in (("pattern", pattern), ("box", box)):
        if given is not None:
            raise ProblemError(f"certificates know no --{option}; leave it or --certificate out")
    if path.is_dir():
        raise CertificateError(f"--certificate {path} is a folder; name a file in it")
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    if not (folder.is_dir() and os.access(folder, os.W_OK)):
        raise CertificateError(
            f"cannot write the certificate {path}: {folder} is no folder to write in"
        )
    load_verifier()


def _solved(piece: ChunkProblem, found: Range, rounding: str, pairs: int) -> Solved:
    """What a certificate is made of."""
    from bounds.certificate import Solved
    from bounds.problem.grid import Grid
    from bounds.problem.sparsity import Sparse

    constraint, chunk = found.constraint, piece.chunk
    if isinstance(constraint, Grid) and constraint.asks:
        return Solved(chunk, piece.channels, found, rounding=rounding, pairs=pairs, grid=constraint)
    if isinstance(constraint, Grid):
        bits, step = constraint.bits, constraint.steps(len(piece.channels))
        return Solved(chunk, piece.channels, found, bits, step, None, rounding, pairs=pairs)
    assert isinstance(constraint, Sparse)
    return Solved(chunk, piece.channels, found, keep=constraint.keep, rounding=rounding)


def _table(results: list[tuple[ChunkProblem, Range]]) -> Table:
    """A line a chunk, and one for all of them."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for heading in ("chunk", "channels", "inputs", "attained dB", "bound dB", "error", "at least"):
        table.add_column(heading, justify="right")
    table.add_column("status")
    for piece, found in results:
        cells = (str(n) for n in (piece.chunk.index, len(piece.channels), piece.features))
        table.add_row(*cells, *_cells([found]))
    if len(results) > 1:
        found = [found for _, found in results]
        table.add_section()
        table.add_row("all", str(sum(len(r.energy) for r in found)), "", *_cells(found))
    return table


def _one_size(
    problem: str, bits: int | None, keep: int | None, pattern: str | None, grid: str | None
) -> tuple[int, int] | None:
    """Exactly one of bits, keep and pattern, for quantization bits; the pattern's two numbers."""
    from bounds.errors import ProblemError

    if problem == "quantization" and (keep is not None or pattern is not None):
        option = "--pattern" if keep is None else "--keep"
        raise ProblemError(f"{option} is for pruning; give --bits for quantization")
    if problem == "pruning" and grid is not None:
        raise ProblemError("--grid is for quantization")
    if sum(given is not None for given in (bits, keep, pattern, grid)) != 1:
        wanted = (
            "one of --bits or --grid"
            if problem == "quantization"
            else "one of --bits or --keep or --pattern"
        )
        raise ProblemError(f"give {wanted} for {problem}")
    if pattern is None:
        return None
    from bounds.cli.judging import pattern_of

    return pattern_of(pattern)


def _pick(
    layer: LayerDump, chunk: str, channel: str, size: int
) -> list[tuple[Chunk, tuple[int, ...]]]:
    """The chunks wanted, each with the channels wanted of it, counted from its first."""
    from bounds.errors import ProblemError

    chunks = layer.chunks(size)
    wanted = _index("chunk", chunk, len(chunks))
    number = _index("channel", channel, layer.channels)
    picked = []
    for part in chunks if wanted is None else [chunks[wanted]]:
        if number is None:
            picked.append((part, tuple(range(len(part.weights)))))
        elif part.channels.start <= number < part.channels.stop:
            picked.append((part, (number - part.channels.start,)))
    if not picked:
        start, stop = chunks[wanted or 0].channels.start, chunks[wanted or 0].channels.stop
        raise ProblemError(
            f"channel {number} is not in chunk {wanted}, which belongs to group "
            f"{chunks[wanted or 0].group} with channels {start} to {stop - 1}"
        )
    return picked


def _index(name: str, text: str, count: int) -> int | None:
    from bounds.errors import ProblemError

    if text == "all":
        return None
    if not text.isdecimal() or int(text) >= count:
        raise ProblemError(f'--{name} {text} is not there; give 0 to {count - 1}, or "all"')
    return int(text)


def _cells(ranges: list[Range]) -> list[str]:
    """SNRs and errors of ranges taken together, and their statuses counted."""
    import numpy as np

    from bounds.problem.range import CERTIFIED, EXACT, HEURISTIC, snr

    energy, lower, upper = (
        np.concatenate([getattr(r, name) for r in ranges]) for name in ("energy", "lower", "upper")
    )
    counts = {s: sum(r.count(s) for r in ranges) for s in (EXACT, CERTIFIED, HEURISTIC)}
    return [
        f"{snr(energy, upper):.3f}",
        f"{snr(energy, lower):.3f}",
        f"{upper.sum():.6g}",
        f"{lower.sum():.6g}",
        ", ".join(f"{count} {status}" for status, count in counts.items() if count),
    ]


def methods() -> None:
    """List the methods for both problems: what each proves, takes, and costs."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    from bounds.problem.methods import PROBLEMS
    from bounds.problem.methods import table as known

    for problem in PROBLEMS:
        shown = Table(box=SIMPLE_HEAD, pad_edge=False, title=problem, title_justify="left")
        for heading in ("method", "proves", "does", "takes", "costs"):
            shown.add_column(heading, overflow="fold", no_wrap=heading in ("method", "proves"))
        for method in known(problem):
            needs = f"; needs {method.needs}" if method.needs else ""
            takes = ", ".join(sorted(method.takes))
            shown.add_row(method.name, method.proves, method.does, takes, method.costs + needs)
        Console().print(shown)
