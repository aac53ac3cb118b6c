"""``layerbounds layers`` and ``layerbounds extract``: from a network to dumps."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Source = Annotated[
    str,
    typer.Argument(help="A network: a bundled name, torchvision:, timm:, onnx:, module:function."),
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
    layer: Annotated[list[str], typer.Argument(help="Layer names, or endings only one layer has.")],
    images: Annotated[
        str, typer.Option(help='A folder of images, or "bundled" photographs.')
    ] = "bundled",
    out: Annotated[Path, typer.Option(help="Folder for the dumps.")] = Path("dumps"),
    heldout: Annotated[int, typer.Option(help="Images that only judge the result.")] = 6,
    limit: Annotated[int | None, typer.Option(help="Use only the first so many images.")] = None,
) -> None:
    """Extract layers, one dump each: weights and Gram matrices of the inputs they really see."""
    from rich.console import Console
    from rich.progress import Progress

    from layers.extract import extract

    console = Console()
    with Progress(console=console, disable=not console.is_terminal) as bars:
        bar = bars.add_task(source, total=None)
        paths = extract(
            source,
            layer,
            images,
            out,
            heldout_count=heldout,
            limit=limit,
            progress=lambda done, total, _: bars.update(bar, completed=done, total=total),
        )
    for path in paths:
        # Bare paths, one a line, never folded: they are what the next command wants.
        typer.echo(path)
