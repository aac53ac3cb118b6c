"""``layerbounds finetune``: quantization and pruning with training, and what training does."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Self

import typer

from bounds.cli.logged import RunLog
from bounds.finetune.observer import FinetuneObserver

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

    from bounds.finetune.jobs import Job

FAILURES = 1


def finetune(
    file: Annotated[
        str,
        typer.Argument(help="A TOML file, or a bundled fine-tuning study: finetune, photographs."),
    ] = "finetune",
    results: Annotated[Path, typer.Option(help="Folder of all results.")] = Path("results"),
    workers: Annotated[
        int | None, typer.Option(help="Runs at a time, instead of the study's number.")
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda, ... instead of the study's.")
    ] = None,
) -> None:
    """Fine-tune: learned steps against gradual pruning, with and without training; draw figures."""
    from dataclasses import replace

    from rich.console import Console

    from bounds.errors import StudyError
    from bounds.finetune.running import run_finetune
    from bounds.finetune.toml import load_finetune

    study = load_finetune(file)
    if workers is not None:
        study = replace(study, workers=workers)
    if device is not None:
        study = replace(study, device=device)

    from bounds.present.figures import FINETUNE_KINDS, save_figure
    from bounds.present.trained import render_accuracy
    from bounds.results.finetuned import LAYERS, NETWORKS, read_finetuned

    console = Console()
    with TrainingObserver(console) as observer:
        report = run_finetune(study, results=results, observer=observer)
    networks = read_finetuned(report.folder, NETWORKS)
    layers = read_finetuned(report.folder, LAYERS)
    console.print(render_accuracy(networks))
    for kind, (draw, _) in FINETUNE_KINDS.items():
        try:
            drawn = draw(networks, layers)
        except StudyError as error:  # what it shows has failed; the rest is there all the same
            console.print(f"no figure {kind}: {error}", highlight=False, soft_wrap=True)
            continue
        for path in save_figure(drawn, report.folder / kind):
            console.print(f"figure: {path}", highlight=False, soft_wrap=True)
    console.print(f"results: {report.folder / NETWORKS}", highlight=False, soft_wrap=True)
    console.print(
        f"{report.new} runs new, {report.runs - report.new} found finished, "
        f"{len(report.failures)} failed, in {report.seconds:.1f} s",
        highlight=False,
    )
    if report.failures:
        raise typer.Exit(FAILURES)


class _TrainLog(RunLog):
    """Also says what a run under way has come to."""

    def __init__(self, say) -> None:
        super().__init__(say)
        self.last = ""

    def line(self) -> str:
        return f"{super().line().replace('tasks solved', 'runs finished')}{self.last}"


class TrainingObserver(FinetuneObserver):
    """Bars in a terminal, one for all epochs and one for each run; elsewhere a line a minute."""

    def __init__(self, console: Console) -> None:
        """Bars if ``console`` is a terminal."""
        self.console = console
        self.bars: Progress | None = None
        self.log: _TrainLog | None = None
        self.all: TaskID | None = None
        self.runs: dict[str, TaskID] = {}
        if console.is_terminal:
            self.bars = _bars(console)
        else:
            self.log = _TrainLog(lambda line: console.print(line, highlight=False, soft_wrap=True))

    def __enter__(self) -> Self:
        """Start the bars, or the minutes."""
        if self.bars:
            self.bars.start()
        if self.log:
            self.log.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the bars as they are; no more lines."""
        if self.bars:
            self.bars.stop()
        if self.log:
            self.log.__exit__(kind, error, trace)

    def begin(self, runs: int, epochs: int) -> None:
        """The bar of all epochs."""
        if self.bars:
            self.all = self.bars.add_task("all, in epochs", total=epochs)
        if self.log:
            self.log.begin(runs, epochs)

    def moving(self, name: str, *, epoch: int, epochs: int, loss: float, accuracy: float) -> None:
        """The bar of a run, with loss and accuracy."""
        words = f"loss {loss:.4f}, accuracy {100 * accuracy:.1f}%"
        if self.log:
            self.log.last = f"; {name}, epoch {epoch} of {epochs}: {words}"
        if self.bars:
            if name not in self.runs:
                self.runs[name] = self.bars.add_task(name, total=epochs)
            text = f"{name}: {words}"
            self.bars.update(self.runs[name], completed=epoch, description=text)

    def finished(self, job: Job, new: bool, error: str) -> None:
        """Move the bar of all, and name a failure."""
        from rich.text import Text

        if error:
            self.console.print(Text(f"failed: {job.name}: {error}", style="red"))
        if self.log:
            self.log.solved(job.cost)
        if self.bars and self.all is not None:
            self.bars.advance(self.all, job.cost)
            if job.name in self.runs:
                self.bars.remove_task(self.runs.pop(job.name))


def _bars(console: Console) -> Progress:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        speed_estimate_period=600,
    )
