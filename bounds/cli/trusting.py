"""``layerbounds verify`` and ``layerbounds fuzz``: check what is claimed, attack what claims it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from bounds.fuzz import FuzzReport

#: Exit code when a claim is false, or a bound was broken.
BROKEN = 1
#: Findings shown; the others are only counted.
SHOWN = 20


def verify(
    file: Annotated[Path, typer.Argument(help="A certificate.")],
    dump: Annotated[Path, typer.Option(help="The dump it is about.")],
    nodes: Annotated[
        int | None,
        typer.Option(help="Most nodes of one channel's proof; default 10^9.", min=1),
    ] = None,
) -> None:
    """Check every claim of a certificate without our solvers; exit code 1 at the first false one.

    The same as `python -m bounds.verify`, a program in one file.
    """
    from bounds.certificate import load_verifier

    limit = [] if nodes is None else ["--nodes", str(nodes)]
    if load_verifier().main([str(file), "--dump", str(dump), *limit]):
        raise typer.Exit(BROKEN)


def fuzz(
    count: Annotated[int, typer.Option(help="Random instances to check.", min=1)] = 1000,
    seed: Annotated[int, typer.Option(help="Of the sequence of instances.", min=0)] = 0,
    first: Annotated[int, typer.Option(help="Index of the first instance.", min=0)] = 0,
    problem: Annotated[
        str, typer.Option(help="quantization, pruning, both, joint or all.")
    ] = "both",
    method: Annotated[
        list[str] | None, typer.Option(help="Only this method; may be given again.")
    ] = None,
) -> None:
    """Attack the solvers with random instances of known optimum; exit code 1 if a bound broke.

    Every finding names the problem, seed and index that reproduce it (--problem P --seed S
    --first I --count 1). Ctrl-C shows what was done until then.
    """
    from bounds.fuzz.run import choose
    from bounds.fuzz.run import fuzz as attack

    choose(problem, method)  # refuse before anything is compiled
    show, so_far = _progress(count), []

    def progress(report: FuzzReport) -> None:
        so_far[:] = [report]
        show(report)

    try:
        so_far[:] = [attack(count, seed, method, problem, progress, first)]
    finally:  # interrupted, it says how far it came
        for line in so_far and describe(so_far[0]):
            typer.echo(line)
    if so_far[0].serious:
        raise typer.Exit(BROKEN)


def _progress(count: int) -> Callable[[FuzzReport], None]:
    """Tells a terminal, and only that, how far it is."""
    from rich.console import Console

    console = Console(stderr=True)

    def show(report: FuzzReport) -> None:
        if console.is_terminal:
            console.print(f"{report.instances} of {count}, {report.serious} broken", end="\r")

    return show


def describe(report: FuzzReport) -> list[str]:
    """A fuzz in lines: what ran, the statuses of every method, and what broke."""
    rate = report.instances / report.seconds if report.seconds > 0 else float("inf")
    each = report.problems / max(report.instances, 1)
    lines = [
        f"{report.instances} instances, {report.problems} problems, {report.runs} runs, "
        f"{report.channels} ranges checked in {report.seconds:.1f} s "
        f"({rate:.0f} instances, {rate * each:.0f} problems a second)"
    ]
    if report.refused:
        lines.append(f"refused by name, being near the ends of float64: {report.refused} runs")
    for method in sorted({method for method, _ in report.statuses}):
        counts = [f"{n} {status}" for (m, status), n in report.statuses.items() if m == method]
        lines.append(f"{method}: {', '.join(sorted(counts))}")
    for (rule, serious), count in sorted(report.rules.items()):
        lines.append(f"{rule}: {count}{'' if serious else ', all within the stated tolerance'}")
    lines += [str(found) for found in report.findings[:SHOWN]]
    lines.append(f"{report.serious} statements broken" if report.serious else "nothing broken")
    return lines
