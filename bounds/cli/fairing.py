"""``layerbounds fair``: pruning, quantization and both together, each at its best, at true bits."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

#: Bits a weight of the table printed: whole widths and what a step shared by a tensor costs.
SHOWN = (2.1, 3.1, 4.1, 5.1, 6.1, 7.1, 8.1)


def fair(
    dumps: Annotated[list[Path], typer.Argument(help="Dumps written by `layerbounds extract`.")],
    results: Annotated[Path, typer.Option(help="Folder of rows and figure.")] = Path(
        "results/fair"
    ),
    chunks: Annotated[int, typer.Option(help="Chunks of each layer.", min=1)] = 2,
    channels: Annotated[int, typer.Option(help="Channels of each chunk.", min=1)] = 16,
    size: Annotated[int, typer.Option(help="Input features of a chunk.", min=2)] = 36,
    workers: Annotated[int, typer.Option(help="Chunks solved at a time.", min=1)] = 2,
) -> None:
    """Which way of spending bits is best, proven: solve all of them on some channels and draw it.

    What is finished is kept: run again, only what is missing is solved.
    """
    from rich.console import Console
    from rich.table import Table

    from bounds.present.figures import fair_figure, save_figure
    from bounds.results.fair import ACCOUNTS, fair_verdicts
    from bounds.study.fair import FairStudy, run_fair

    console = Console()

    def progress(done: int, total: int) -> None:
        console.print(f"{done} of {total} chunks", highlight=False)

    study = FairStudy(chunk=size, chunks=chunks, channels=channels)
    rows = run_fair(dumps, results, study, workers, progress)
    for account in ACCOUNTS:
        mask = "masks at their entropy" if account == "entropy" else "masks at 1 bit a weight"
        table = Table(title=f"Best at equal true bits, {mask}; dB above every other side's bound")
        table.add_column("layer")
        for bits in SHOWN:
            table.add_column(f"{bits:g}", justify="right")
        found = fair_verdicts(rows, SHOWN, account)
        for layer in dict.fromkeys(one.layer for one in found):
            own = {one.bits: one for one in found if one.layer == layer}
            cells = [f"{own[b].winner} {own[b].margin:.2f}" if b in own else "" for b in SHOWN]
            table.add_row(layer, *cells)
        console.print(table)
    for path in save_figure(fair_figure(rows), results / "fair"):
        console.print(f"figure: {path}", highlight=False, soft_wrap=True)
    console.print(f"results: {results / 'fair.parquet'}", highlight=False, soft_wrap=True)
