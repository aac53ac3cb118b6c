"""``layerbounds study``: many layers, their table and the picture of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

FAILURES = 1


def study(
    file: Annotated[str, typer.Argument(help="A TOML file, or a bundled study: demo, paper.")],
    results: Annotated[Path, typer.Option(help="Folder of all results.")] = Path("results"),
    dumps: Annotated[Path, typer.Option(help="Folder of extracted layers.")] = Path("dumps"),
    workers: Annotated[
        int | None, typer.Option(help="Tasks at a time, instead of the study's number.")
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(
            help="Solve on the Dask cluster at this address (tcp://host:8786); waits for workers."
        ),
    ] = None,
) -> None:
    """Run a study: extract, solve what is not solved yet, print the table and draw the figure."""
    from dataclasses import replace

    from rich.console import Console

    from bounds.present.figures import format_figure, range_figure, save_figure
    from bounds.present.terminal import render, render_formats, study_table
    from bounds.results.formats import format_results
    from bounds.results.ranges import load_rows
    from bounds.study.plan.toml import load_study

    wanted = load_study(file)
    if workers is not None:
        wanted = replace(wanted, solve=replace(wanted.solve, workers=workers))

    from bounds.cli.progress import ConsoleObserver
    from bounds.study.run.running import run_study

    console = Console()
    with ConsoleObserver(console) as observer:
        report = run_study(
            wanted, results=results, dumps=dumps, scheduler=scheduler, observer=observer
        )
    rows = load_rows(report.results) if report.rows else []
    if study_table(rows):
        console.print(render(rows))
        for path in save_figure(range_figure(rows), report.results.with_name("ranges")):
            console.print(f"figure: {path}", highlight=False, soft_wrap=True)
    if format_results(rows):
        console.print(render_formats(rows))
        for path in save_figure(format_figure(rows), report.results.with_name("formats")):
            console.print(f"figure: {path}", highlight=False, soft_wrap=True)
    console.print(f"results: {report.results}", highlight=False, soft_wrap=True)
    console.print(
        f"{report.solved} tasks solved, {report.skipped} found finished, "
        f"{len(report.failures)} failed, in {report.seconds:.1f} s",
        highlight=False,
    )
    # A task at some of its bit widths counts as solved; how much of it is new is said in rows.
    console.print(
        f"{max(report.rows - report.kept, 0)} results new, {report.kept} kept", highlight=False
    )
    if report.problems:
        # A problem: one channel at one bit width, by one method.
        console.print(
            f"{report.problems} problems in {report.solving:.1f} s, "
            f"{report.problems / report.solving:.0f} a second",
            highlight=False,
        )
    if report.failures:
        raise typer.Exit(FAILURES)
