"""``layerbounds allocate``: a budget of bits shared out among layers, and what no sharing beats."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from bounds.gap.allocate import Allocation


def allocate(
    dumps: Annotated[Path, typer.Argument(help="Folder of dumps with whole Gram matrices.")],
    bits: Annotated[float, typer.Option(help="Budget: true bits a weight, on average.")],
    widths: Annotated[str, typer.Option(help="Bit widths to choose from.")] = "2,3,4,5,6,8",
    grid: Annotated[
        str, typer.Option(help="Rule of the grids, with {bits} in it.")
    ] = "int{bits}-channel-mse",
    method: Annotated[
        str, typer.Option(help="Whose errors count: a method, or best for all that is found.")
    ] = "gptq",
    importance: Annotated[
        Path | None, typer.Option(help="JSON: factors of layers' errors, by layer; 1 otherwise.")
    ] = None,
    layer: Annotated[str, typer.Option(help='Which layers, such as "encoder.*".')] = "*",
    json: Annotated[Path | None, typer.Option(help="Write widths and errors to this file.")] = None,
    figure: Annotated[
        Path | None, typer.Option(help="Draw the frontier: PNG and PDF of this name.")
    ] = None,
) -> None:
    """Choose a bit width for every layer so that the error within a budget is least."""
    from rich.console import Console

    from bounds.cli.waiting import following

    chosen = _widths(widths)
    factors = None if importance is None else _factors(importance)
    with following("layers and widths") as follow:
        from bounds.gap.allocate import allocate as share
        from bounds.gap.allocate import measure

        read = _read(dumps, layer)
        measured = measure(
            read, widths=chosen, rule=grid, method=method, importance=factors, progress=follow
        )
        found = share(measured, bits)
    console = Console()
    _show(console, found, method)
    if json is not None:
        from bounds.results.files import write_bytes

        write_bytes(json, _record(found))
    if figure is not None:
        from bounds.present.figures.frontier import frontier_figure
        from bounds.present.figures.style import save_figure

        for path in save_figure(frontier_figure(found), figure.with_suffix("")):
            typer.echo(path)


def _widths(text: str) -> tuple[int, ...]:
    from bounds.errors import ProblemError

    parts = text.split(",")
    if not all(part.strip().isdecimal() for part in parts):
        raise ProblemError(f"--widths takes whole numbers such as 2,3,4, not {text!r}")
    return tuple(sorted({int(part) for part in parts}))


def _factors(path: Path) -> dict[str, float]:
    import json

    from bounds.errors import ProblemError

    try:
        read = json.loads(path.read_text("utf-8"))
        factors = {str(name): float(value) for name, value in read.items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ProblemError(
            f"--importance {path} is no JSON of numbers by layer: {error}"
        ) from error
    if not all(value >= 0 for value in factors.values()):
        raise ProblemError(f"--importance {path} has a negative factor")
    return factors


def _read(folder: Path, layer: str) -> list:
    from fnmatch import fnmatchcase

    from bounds.errors import ProblemError
    from layers.dump.file import read_dump

    dumps = [read_dump(path) for path in sorted(folder.glob("*.safetensors"))]
    found = [dump for dump in dumps if fnmatchcase(dump.layer, layer)]
    if not found:
        raise ProblemError(f"{folder} holds no dump of a layer {layer}")
    return found


def _show(console: object, found: Allocation, method: str) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    from bounds.problem.range import decibels

    assert isinstance(console, Console)
    shown = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    shown.add_column("layer", overflow="fold")
    for heading in ("weights", "bits", "dB", "at most dB"):
        shown.add_column(heading, justify="right")
    for one, width in zip(found.layers, found.widths, strict=True):
        at = one.widths.index(width)
        cells = (decibels(1.0, e) for e in (one.attained[at], one.lower[at]))
        shown.add_row(one.layer, str(one.weights), str(width), *(f"{cell:.2f}" for cell in cells))
    console.print(shown)
    for line in (
        f"{found.bits:.3f} true bits a weight, steps included; sum of relative errors "
        f"{found.error:.4g} by {method}",
        f"no allocation within the budget, and no weights on these grids, have less than "
        f"{found.limit:.4g}: proven; so at most {found.loss:.2f} dB are to be had",
    ):
        console.print(line, highlight=False, soft_wrap=True)


def _record(found: Allocation) -> bytes:
    import json
    import math

    layers = [
        {
            "layer": one.layer, "weights": one.weights, "bits": width,
            "attained": one.attained[one.widths.index(width)],
            "lower": one.lower[one.widths.index(width)],
        }
        for one, width in zip(found.layers, found.widths, strict=True)
    ]  # fmt: skip
    whole = {
        "bits": found.bits, "error": found.error, "limit": found.limit,
        "loss": found.loss if math.isfinite(found.loss) else None, "layers": layers,
    }  # fmt: skip
    return (json.dumps(whole, indent=1) + "\n").encode()
