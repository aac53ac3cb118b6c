"""``layerbounds layers`` and ``layerbounds extract``: from a network to dumps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

if TYPE_CHECKING:
    from layers.capture.gram import Blocks

Source = Annotated[
    str,
    typer.Argument(
        help="A network: a bundled name, torchvision:, timm:, onnx:, hf:, module:function."
    ),
]


def layers(source: Source) -> None:
    """List the layers of a network that can be extracted."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from layers.extract import list_layers

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("layer", "kind", "weights"):
        table.add_column(heading, overflow="fold")
    for layer in list_layers(source):
        table.add_row(layer.name, layer.kind, " x ".join(map(str, layer.shape)))
    Console().print(table)


def extract(
    source: Source,
    layer: Annotated[
        list[str] | None,
        typer.Argument(
            help='Layer names, endings only one layer has, or patterns ("features.*.conv").'
        ),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Every layer there is.")] = False,
    images: Annotated[
        str, typer.Option(help='A folder of images, or "bundled" photographs.')
    ] = "bundled",
    out: Annotated[Path, typer.Option(help="Folder for the dumps.")] = Path("dumps"),
    heldout: Annotated[
        int | None,
        typer.Option(
            help="Images or batches that only judge the result; 0.3 of all, or 0 for none."
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(help="Use only the first so many images or batches.")
    ] = None,
    blocks: Annotated[
        str,
        typer.Option(
            help="Gram to keep: full, a width of blocks along its diagonal, or auto: full up to "
            "4,096 inputs."
        ),
    ] = "auto",
) -> None:
    """Extract layers, one dump each: weights and Gram matrices of the inputs they really see."""
    from rich.console import Console
    from rich.progress import Progress
    from rich.text import Text

    from layers.errors import CaptureError
    from layers.extract import extract
    from layers.networks.names import is_pattern

    wanted = list(layer or ())
    if every == bool(wanted):
        raise CaptureError("name layers, or give --all; `layerbounds layers` lists what there is")
    # With no other layer to go on with, what is wrong with it is an error like any other.
    alone = len(wanted) == 1 and not is_pattern(wanted[0])
    console = Console()
    rejected: list[str] = []

    def reject(name: str, error: CaptureError) -> None:
        rejected.append(name)
        Console(stderr=True, soft_wrap=True).print(Text(f"left out: {error}", style="red"))

    with Progress(console=console, disable=not console.is_terminal) as bars:
        bar = bars.add_task(source, total=None)
        paths = extract(
            source,
            ["*"] if every else wanted,
            images,
            out,
            heldout_count=heldout,
            limit=limit,
            blocks=cast("Blocks", int(blocks) if blocks.isdecimal() else blocks),
            progress=lambda done, total, _: bars.update(bar, completed=done, total=total),
            reject=None if alone else reject,
        )
    if heldout == 0:
        note = "no held-out part: errors will be told on the inputs they were calibrated with alone"
        Console(stderr=True, soft_wrap=True).print(note, highlight=False)
    for path in paths:
        # Bare paths, one a line, never folded: they are what the next command wants.
        typer.echo(path)
    # Who asks for all that can be had has got it; who named a layer has not.
    if rejected and (not paths or not (every or any(map(is_pattern, wanted)))):
        raise typer.Exit(1)
