"""The application: its commands, and the one place where errors become sentences.

Nothing slow is imported here: every command brings what it needs when it runs.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any

import typer

from bounds.cli.allocating import allocate
from bounds.cli.auditing import audit
from bounds.cli.checkpoints import judge
from bounds.cli.fairing import fair
from bounds.cli.finetuning import finetune
from bounds.cli.judging import gap
from bounds.cli.layering import layer
from bounds.cli.networks import extract, layers
from bounds.cli.showing import anytime, figure, report, table
from bounds.cli.solving import methods, solve
from bounds.cli.studying import study
from bounds.cli.trusting import fuzz, verify
from bounds.errors import Interrupted
from layers.errors import LayerboundsError

app = typer.Typer(
    name="layerbounds",
    help="Proven ranges for what pruning and quantization can achieve on a network's layer.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

USER_ERROR = 2
INTERRUPTED = 130

_debug = False


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        try:
            typer.echo(f"layerbounds {version('layerbounds')}")
        except PackageNotFoundError:
            typer.echo("layerbounds, from a source tree that is not installed")
        raise typer.Exit


def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Proven ranges for what pruning and quantization can achieve on a network's layer."""
    global _debug
    _debug = debug


def guarded(command: Callable[..., None]) -> Callable[..., None]:
    """The command with its errors told as one sentence each, and an exit code."""

    @wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except LayerboundsError as error:
            if _debug:
                raise
            complain(str(error))
            raise typer.Exit(USER_ERROR) from error
        except KeyboardInterrupt as error:
            if not isinstance(error, Interrupted):  # which has been reported
                complain("interrupted; what was finished is kept")
            raise typer.Exit(INTERRUPTED) from error

    return run


app.callback()(options)
for command in (
    study,
    finetune,
    fair,
    report,
    table,
    figure,
    anytime,
    layers,
    extract,
    layer,
    solve,
    verify,
    gap,
    judge,
    allocate,
    audit,
    fuzz,
    methods,
):
    app.command()(guarded(command))


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit: 0 well, 1 some tasks failed, 2 user's mistake, 130 Ctrl-C."""
    # Several tasks are solved at once: BLAS threads inside each would only fight for the cores.
    # Has to be set before numpy is imported; torch has a setting of its own.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    app(args=arguments)


def complain(sentence: str) -> None:
    """One red sentence on the error output."""
    from rich.console import Console
    from rich.text import Text

    Console(stderr=True, soft_wrap=True).print(Text(f"error: {sentence}", style="red"))
