"""``layerbounds audit``: the paper's released pipeline beside the right one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def audit(
    file: Annotated[
        str, typer.Argument(help="A study whose layers are audited; default: the paper's ten.")
    ] = "paper",
    dumps: Annotated[Path, typer.Option(help="Folder of extracted layers.")] = Path("dumps"),
    out: Annotated[Path | None, typer.Option(help="CSV to write the table to.")] = None,
    bits: Annotated[
        list[int] | None, typer.Option(help="A bit width; may be given again. Default 2, 3, 4, 8.")
    ] = None,
    chunks: Annotated[int, typer.Option(help="Chunks of a layer, evenly spaced.", min=1)] = 1,
    channels: Annotated[int, typer.Option(help="Channels of a chunk.", min=1)] = 8,
) -> None:
    """Say what each difference of the paper's released code is worth, and what is false in it."""
    from dataclasses import replace

    from rich.console import Console

    from bounds.audit import records, render
    from bounds.audit.layers import audit_study
    from bounds.present.figures.style import save_data
    from bounds.study.plan.toml import load_study

    study = load_study(file)
    widths = tuple(bits or (2, 3, 4, 8))
    study = replace(study, solve=replace(study.solve, bits=widths))  # the same rules as a study's
    progress = Console(stderr=True)

    def tell(sentence: str) -> None:
        if progress.is_terminal or sentence.startswith("left out"):
            progress.print(sentence, highlight=False, soft_wrap=True)

    found = records(
        audit_study(study, dumps, bits=widths, chunks=chunks, channels=channels, tell=tell)
    )
    if out is not None:
        save_data(found, out)
    console = Console()
    console.print(render(found))
    if out is not None:
        console.print(f"table: {out}", highlight=False, soft_wrap=True)
