"""``layerbounds layer``: a whole layer at a glance, attained and proven, at any bit widths."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from bounds.layer.account import Account
    from bounds.results.verdicts import Verdict


def layer(
    dump: Annotated[Path, typer.Argument(help="A dump written by `layerbounds extract`.")],
    bits: Annotated[str, typer.Option(help="Bit widths, such as 4 or 2,3,4.")] = "4",
    method: Annotated[
        str | None, typer.Option(help="For quantization; sdp-shared, or exact up to 36 inputs.")
    ] = None,
    pruning: Annotated[
        str | None,
        typer.Option(help="For pruning; perspective-shared, or exact up to 36 inputs."),
    ] = None,
    scale: Annotated[str, typer.Option(help="Rule for the one step: mse or minmax.")] = "mse",
    rounding: Annotated[
        str, typer.Option(help="fp16 rounds the weights first, as the paper does; or none.")
    ] = "fp16",
    damping: Annotated[
        float,
        typer.Option(help="Share of the mean diagonal added to the Gram; GPTQ's is 0.01."),
    ] = 0.0,
    failure: Annotated[
        float, typer.Option(help="Probability with which the volume bound may fail.")
    ] = 1e-9,
    out: Annotated[Path | None, typer.Option(help="Write the numbers to this CSV.")] = None,
) -> None:
    """Show a whole layer: what RTN, GPTQ and the best found attain, bounds, and a verdict."""
    from rich.console import Console

    from bounds.cli.waiting import following
    from bounds.errors import ProblemError

    widths = _widths(bits)
    if not 0 <= damping < float("inf"):
        raise ProblemError(f"--damping must be 0 or more, got {damping}")
    found: list[Account] = []
    with following("groups and bit widths") as follow:
        from bounds.layer.account import account, damped
        from bounds.problem.gram import round_weights
        from layers.dump.file import read_dump

        read = read_dump(dump)
        parts = [
            (damped(part.gram, damping), round_weights(part.weights, rounding))
            for part in read.chunks(None)
        ]
        total = len(parts) * len(widths)
        for turn, width in enumerate(widths):
            before = turn * len(parts)
            follow(before, total)
            found.append(
                account(
                    parts,
                    width,
                    rule=scale,
                    failure=failure,
                    methods=(method, pruning),
                    told=lambda done, before=before: follow(before + done, total),
                )
            )
    console = Console()
    first = found[0]
    console.print(
        f"{read.source} {read.layer}: {first.channels} channels, {first.inputs} inputs"
        + (f" in {len(parts)} groups" if len(parts) > 1 else "")
        + (f"; damped by {damping:g} of the mean diagonal" if damping else ""),
        highlight=False,
        soft_wrap=True,
    )
    console.print(_table(found))
    for line in _notes(found):
        console.print(line, highlight=False, soft_wrap=True)
    if out is not None:
        from bounds.present.figures.style import save_data

        typer.echo(save_data([_record(one, damping) for one in found], out))


def _widths(text: str) -> list[int]:
    from bounds.errors import ProblemError

    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise ProblemError(f"--bits takes whole numbers such as 4 or 2,3,4, not {text!r}") from None


def _table(found: list[Account]) -> Table:
    """A line a bit width for quantization, one for pruning at the same true bits."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for heading in ("bits", "kept", "RTN", "GPTQ", "best dB", "volume", "bound dB"):
        table.add_column(heading, justify="right")
    for heading in ("x bound", "channels", "seconds"):
        table.add_column(heading, justify="right")
    for one in found:
        rtn, gptq, best = (one.decibels(one.errors[name]) for name in ("rtn", "gptq", "best"))
        table.add_row(
            str(one.bits), "", f"{rtn:.2f}", f"{gptq:.2f}", f"{best:.2f}",
            _shown(one.decibels(one.volume)), _shown(one.decibels(one.proven)),
            _ratio(one.errors["best"], one.proven), _share(one.bounded, one.channels),
            f"{one.seconds[0]:.1f}",
        )  # fmt: skip
        table.add_row(
            "", f"{one.keep}", "", "", f"{one.decibels(one.pruned):.2f}", "",
            _shown(one.decibels(one.pruned_proven)), _ratio(one.pruned, one.pruned_proven),
            _share(one.pruned_bounded, one.channels), f"{one.seconds[1]:.1f}",
        )  # fmt: skip
    return table


def _shown(decibels: float) -> str:
    import math

    return f"{decibels:.2f}" if math.isfinite(decibels) else "none"


def _ratio(error: float, lower: float) -> str:
    return f"{error / lower:.2f}" if lower > 0 else "none"


def _share(count: int, channels: int) -> str:
    return "all" if count == channels else f"{count} of {channels}"


def _notes(found: list[Account]) -> list[str]:
    """Verdicts, what the columns mean, and what the solvers remarked."""
    from bounds.results.verdicts import LIKELY, PROVEN

    lines = []
    for one in found:
        certainty, verdict = _verdict(one)
        where = f"{one.bits} bits against {one.keep} of {one.inputs} weights kept"
        if certainty == PROVEN:
            lines.append(f"{where}: {verdict.winner} is better, proven, by {verdict.margin:.2f} dB")
        elif certainty == LIKELY:
            lines.append(
                f"{where}: {verdict.winner} is better, likely (probability 1 - {one.failure:g} "
                f"over where the grid lies), by {verdict.margin:.2f} dB"
            )
        else:
            lines.append(f"{where}: undecided, ranges overlap by {-verdict.margin:.2f} dB")
    lines.append(
        "second lines: pruning at the same true bits a weight, places coded ideally; x bound: the "
        "best error over the least that is proven possible"
    )
    if any(one.volume > 0 for one in found):
        lines.append(
            "volume: weights displaced by a random part of a step exceed this SNR with probability "
            f"at most {found[0].failure:g}; it is no proof for these very weights"
        )
    return lines + [
        f"note: {note}" for note in dict.fromkeys(n for one in found for n in one.notes)
    ]


def _verdict(one: Account) -> tuple[str, Verdict]:
    from bounds.results.verdicts import weigh

    return weigh((one.proven, one.errors["best"]), (one.pruned_proven, one.pruned), one.volume)


def _record(one: Account, damping: float) -> dict[str, object]:
    certainty, verdict = _verdict(one)
    return {
        "bits": one.bits,
        "true_bits": one.true_bits,
        "inputs": one.inputs,
        "channels": one.channels,
        "keep": one.keep,
        "damping": damping,
        "energy": one.energy,
        **{f"error_{name}": error for name, error in one.errors.items()},
        "volume": one.volume,
        "failure": one.failure,
        "proven": one.proven,
        "bounded": one.bounded,
        "pruned": one.pruned,
        "pruned_proven": one.pruned_proven,
        "pruned_bounded": one.pruned_bounded,
        "seconds": one.seconds[0],
        "pruned_seconds": one.seconds[1],
        "certainty": certainty,
        "winner": verdict.winner,
        "margin": verdict.margin,
    }
