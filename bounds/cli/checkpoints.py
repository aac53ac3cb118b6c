"""``layerbounds judge``: a whole checkpoint of anybody's tool, layer by layer, worst first."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from bounds.gap.checkpoints import JudgedCheckpoint

ABOVE = 1
WIDE = 180
_LISTED = 8


def judge(
    checkpoint: Annotated[
        Path,
        typer.Argument(
            help="A GGUF, safetensors, numpy or torch file, or a folder of transformers."
        ),
    ],
    dumps: Annotated[
        Path, typer.Option(help="Folder of the original's dumps, with whole Gram matrices.")
    ] = Path("dumps"),
    against: Annotated[
        Path | None, typer.Option(help="The original's checkpoint; by default the dumps' weights.")
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(help="The original network: dumps that are missing are made of it first."),
    ] = None,
    images: Annotated[
        str, typer.Option(help='With --source: a folder of images, or "bundled".')
    ] = "bundled",
    layer: Annotated[str, typer.Option(help='Which layers, such as "encoder.*".')] = "*",
    channels: Annotated[
        int, typer.Option(help="Channels a layer for GPTQ, best and bound; 0 for all.")
    ] = 32,
    time_limit: Annotated[
        float, typer.Option(help="Seconds a channel of exact search (to 36 inputs).")
    ] = 2.0,
    fail_above: Annotated[
        str | None,
        typer.Option(help="Exit with 1 if a layer loses more than so much, such as 2dB."),
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Write every number to this file.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write a page to this file.")] = None,
) -> None:
    """Say for every layer of a quantized or pruned network how much better it could be."""
    from rich.console import Console

    from bounds.cli.waiting import following

    limit = None if fail_above is None else _decibels(fail_above)
    with following("channels") as follow:
        from bounds.gap.checkpoints import judge_checkpoint
        from bounds.gap.formats.checkpoint import open_checkpoint

        opened = open_checkpoint(checkpoint)
        files = dumps if source is None else _extracted(source, images, dumps, layer)
        found = judge_checkpoint(
            opened, files, against=against, names=layer, channels=channels or None,
            time_limit=time_limit, progress=follow,
        )  # fmt: skip
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDE)  # a log has room for names
    console.print(table(found))
    for line in lines(found):
        console.print(line, highlight=False, soft_wrap=True)
    if json is not None:
        from bounds.results.files import write_bytes

        write_bytes(json, records(checkpoint, found))
    if html is not None:
        from bounds.present.report.judged import write_page

        write_page(found, checkpoint.name, html)
    if limit is not None and (found.above(limit) or found.failed):
        _tell(console, found, limit)
        raise typer.Exit(ABOVE)


def _decibels(text: str) -> float:
    import math

    from bounds.errors import ProblemError

    try:
        value = float(text.lower().removesuffix("db").strip())
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise ProblemError(f"--fail-above takes decibels, such as 2dB, not {text!r}")
    return value


def _extracted(source: str, images: str, dumps: Path, layer: str) -> list[Path]:
    """Dumps of the layers wanted, those that are missing made."""
    from layers.extract import extract

    return extract(source, [layer], images, dumps, blocks="full", reject=lambda name, error: None)


def table(found: JudgedCheckpoint) -> Table:
    """A line a layer, what could gain most first."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    shown = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for heading in ("layer", "grid"):
        shown.add_column(heading, overflow="fold")
    for heading in ("bits", "dB", "held-out", "loss", "vs rtn", "vs gptq", "to bound", "to volume"):
        shown.add_column(heading, justify="right")
    shown.add_column("", style="red", overflow="fold")
    for one in found.layers:
        interval = one.loss_interval()
        loss = _number(one.loss)
        if interval is not None:
            loss += f" ({_number(interval[0])} to {_number(interval[1])})"
        demand = one.demand.removeprefix("this looks like ")
        shown.add_row(
            one.layer, demand, f"{one.bits:.2f}", _number(one.snr), _number(one.heldout_snr), loss,
            _number(one.over_plain), _number(one.over_quick), _number(one.to_bound),
            _number(one.to_volume), ", ".join(one.flags),
        )  # fmt: skip
    return shown


def _number(value: float) -> str:
    import math

    if math.isnan(value):
        return ""
    return f"{value:.2f}" if math.isfinite(value) else "none"


def lines(found: JudgedCheckpoint) -> list[str]:
    """What the table's columns mean, and what is not in it."""
    told = [
        "loss: dB above the best error found on the same grid, so much can be had; vs rtn, vs "
        "gptq: above rounding and GPTQ (negative is better); to bound: no weights on this grid are "
        "better by more, proven; to volume: the same for weights displaced by a random part of a "
        "step",
    ]
    if any(one.loss_interval() is not None for one in found.layers):
        count = min(len(one.sample.error) for one in found.layers if one.sample is not None)
        told.append(
            f"loss, vs gptq and to bound are of {count} channels or more a layer, with 95% "
            "confidence; --channels 0 takes all"
        )
    if any(one.heldout_error is None for one in found.layers):
        told.append(
            "there are dumps without a held-out part: those errors are on calibration alone"
        )
    for one in found.layers:
        told += [f"{one.layer}: {note}" for note in one.notes]
    told += [f"not judged: {name}: {why}" for name, why in found.failed.items()]
    if found.without_dump:
        some = ", ".join(found.without_dump[:_LISTED])
        more = len(found.without_dump) - _LISTED
        told.append(f"no dump of: {some}{f' and {more} more' if more > 0 else ''}")
    return told


def records(checkpoint: Path, found: JudgedCheckpoint) -> bytes:
    """JSON of everything, worst layer first."""
    from json import dumps as text

    whole = {
        "checkpoint": checkpoint.name,
        "layers": [dict(one.record()) for one in found.layers],
        "failed": found.failed,
        "without_dump": found.without_dump,
    }
    return (text(whole, indent=1, allow_nan=False) + "\n").encode()


def _tell(console: object, found: JudgedCheckpoint, limit: float) -> None:
    names = [one.layer for one in found.above(limit)] + list(found.failed)
    from rich.console import Console

    assert isinstance(console, Console)
    console.print(
        f"fails: {len(names)} of {len(found.layers) + len(found.failed)} layers lose more than "
        f"{limit:g} dB, or cannot be judged: {', '.join(names[:_LISTED])}",
        highlight=False, soft_wrap=True, style="red",
    )  # fmt: skip
