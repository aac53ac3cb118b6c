"""The options that name a grid, for the commands that take one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from bounds.problem.rule import GridRule

GridOption = Annotated[
    str | None,
    typer.Option(help="A grid, such as int4-g128, int4-g32-asym-mse, nf4, fp4-g32, mxfp4, nvfp4."),
]
GroupSize = Annotated[int | None, typer.Option(help="Inputs that share a step (with --grid).")]
Asymmetric = Annotated[bool, typer.Option("--asymmetric", help="With zero points (with --grid).")]
Strategy = Annotated[
    str | None, typer.Option(help="What shares a step: tensor, channel or group (with --grid).")
]
Observer = Annotated[
    str | None, typer.Option(help="How steps are chosen: minmax or mse (with --grid).")
]


def grid_rule(
    grid: str | None,
    group_size: int | None,
    asymmetric: bool,
    strategy: str | None,
    observer: str | None,
) -> GridRule | None:
    """The rule that the options spell together; None without ``--grid``.

    Raises:
        ProblemError: options without ``--grid``, or that contradict it.
    """
    from bounds.errors import ProblemError
    from bounds.problem.rule import GridRule

    said = {
        "--group-size": None if group_size is None else f"g{group_size}",
        "--asymmetric": "asym" if asymmetric else None,
        "--strategy": None if strategy in (None, "group") else strategy,
        "--observer": observer,
    }
    options = {option: word for option, word in said.items() if word is not None}
    if grid is None:
        if options or strategy:
            option = next(iter(options), "--strategy")
            raise ProblemError(f"{option} belongs to a grid; name it with --grid, such as int4")
        return None
    rule = GridRule.parse("-".join([grid, *options.values()]))
    if strategy == "group" and rule.strategy != "group":
        raise ProblemError("--strategy group needs --group-size")
    return rule
