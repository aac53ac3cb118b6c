"""``layerbounds solve`` and ``layerbounds methods``: one layer, and what can be asked of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from bounds.problem.range import Range
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
) -> None:
    """Solve chunks of one layer and print their ranges."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from bounds.certificate import Solved, write_certificate
    from bounds.problem.gram import round_weights
    from bounds.problem.methods import check_problem_name
    from bounds.problem.sparsity import choose_keep
    from bounds.study.plan.config import Solve, check
    from bounds.study.run.solving import Piece, prune, quantize
    from layers.dump.file import read_dump

    check_problem_name(problem)
    # The rules of a study's [solve] hold here too, in the same words.
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
    groups = _one_size(problem, bits, keep, pattern)
    if certificate is not None:
        from bounds.certificate import load_verifier
        from bounds.errors import ProblemError

        if groups is not None:
            raise ProblemError("certificates know no N:M patterns; leave --pattern or this out")
        load_verifier()  # a missing package is told now, not after hours of solving
    _paired(problem, pairs)
    layer = read_dump(dump)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for heading in ("chunk", "channels", "inputs", "attained dB", "bound dB", "error", "at least"):
        table.add_column(heading, justify="right")
    table.add_column("status")
    found: list[Range] = []
    solved: list[Solved] = []
    for part, channels in _pick(layer, chunk, channel, size):
        piece = Piece(part, round_weights(part.weights, rounding), channels)
        step = k = None
        if problem == "quantization":
            assert bits is not None
            result, step = quantize(
                piece, bits, method, rule=scale, time_limit=time_limit, seed=seed, pairs=pairs
            )
        elif groups is not None:
            result = prune(piece, None, method, time_limit=time_limit, pattern=groups)
        else:
            k = choose_keep(piece.features, bits, "floor").parts[0][0] if bits else keep
            assert k is not None
            result = prune(piece, k, method, time_limit=time_limit)
        found.append(result)
        if certificate is not None:
            width = None if step is None else bits
            solved.append(Solved(part, channels, result, width, step, k, rounding, pairs=pairs))
        table.add_row(str(part.index), str(len(channels)), str(piece.features), *_cells([result]))
    if len(found) > 1:
        table.add_section()
        table.add_row("all", str(sum(len(r.energy) for r in found)), "", *_cells(found))
    what = f"{bits} bits" if bits is not None else f"keep {pattern or keep}"
    console = Console()
    console.print(f"{layer.source} {layer.layer}: {problem}, {what}, {method}", highlight=False)
    console.print(table)
    notes = [note for result in found for note in result.notes]
    if certificate is not None:
        notes += write_certificate(certificate, layer, solved)
        console.print(f"certificate: {certificate}", highlight=False, soft_wrap=True)
    for note in dict.fromkeys(notes):
        console.print(f"note: {note}", highlight=False)


def _one_size(
    problem: str, bits: int | None, keep: int | None, pattern: str | None
) -> tuple[int, int] | None:
    """Exactly one of bits, keep and pattern, for quantization bits; the pattern's two numbers."""
    from bounds.errors import ProblemError

    if problem == "quantization" and (keep is not None or pattern is not None):
        option = "--pattern" if keep is None else "--keep"
        raise ProblemError(f"{option} is for pruning; give --bits for quantization")
    if sum(given is not None for given in (bits, keep, pattern)) != 1:
        wanted = "--bits" if problem == "quantization" else "one of --bits or --keep or --pattern"
        raise ProblemError(f"give {wanted} for {problem}")
    if pattern is None:
        return None
    most, colon, size = pattern.partition(":")
    if not (colon and most.isdecimal() and size.isdecimal()):
        raise ProblemError(f"--pattern takes N:M, such as 2:4, not {pattern!r}")
    return int(most), int(size)


def _paired(problem: str, pairs: int) -> None:
    """Two-variable cuts belong to quantization, whose own rules judge the rest."""
    from bounds.errors import ProblemError

    if pairs and problem != "quantization":
        raise ProblemError("--pairs is for quantization")


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
    """List the methods for both problems."""
    from rich.console import Console

    from bounds.problem.methods import PROBLEMS
    from bounds.problem.methods import methods as known

    for problem in PROBLEMS:
        Console().print(f"{problem}: {', '.join(known(problem))}", highlight=False)
