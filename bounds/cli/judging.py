"""``layerbounds gap``: a compressed layer from anybody's tool, held against its bound."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bounds.cli.grids import Asymmetric, GroupSize, Observer, Strategy, grid_rule

if TYPE_CHECKING:
    from bounds.gap.judge import Gap
    from layers.dump.file import LayerDump

_SHOWN = 5


def gap(
    dump: Annotated[Path, typer.Argument(help="A dump written by `layerbounds extract`.")],
    weights: Annotated[
        Path, typer.Option(help="Compressed, dequantized weights: .safetensors, .npy or .npz.")
    ],
    tensor: Annotated[str | None, typer.Option(help="Which tensor of the file.")] = None,
    bits: Annotated[int | None, typer.Option(help="Bit width, for quantization.")] = None,
    scale: Annotated[
        str, typer.Option(help="The step: infer, a rule (mse, minmax, *-channel), or a number.")
    ] = "infer",
    keep: Annotated[
        str | None,
        typer.Option(help="For pruning: most nonzeros a channel and chunk, or own: as it has."),
    ] = None,
    pattern: Annotated[
        str | None, typer.Option(help="For pruning: 2:4, at most 2 nonzeros in every 4 inputs.")
    ] = None,
    size: Annotated[int, typer.Option(help="Input features of a chunk.")] = 36,
    method: Annotated[str, typer.Option(help="See `layerbounds methods`.")] = "exact",
    time_limit: Annotated[float, typer.Option(help="Seconds a channel; inf for none.")] = 10.0,
    rounding: Annotated[
        str, typer.Option(help="none, or fp16 or bf16 to compare with weights rounded first.")
    ] = "none",
    out: Annotated[Path | None, typer.Option(help="Write every channel to this CSV.")] = None,
    grid: Annotated[
        str | None,
        typer.Option(
            help="In place of --bits: infer, or a grid such as int4-g128-asym or nf4, whose steps "
            "are found in the weights, or chosen by its rule with --scale rule."
        ),
    ] = None,
    group_size: GroupSize = None,
    asymmetric: Asymmetric = False,
    strategy: Strategy = None,
    observer: Observer = None,
) -> None:
    """Say how far a compressed layer is from the optimum at most, per channel and in all."""
    import math

    from rich.console import Console

    from bounds.cli.waiting import following
    from bounds.errors import Interrupted, ProblemError

    if not time_limit > 0:
        raise ProblemError(f"--time-limit must be positive seconds or inf, got {time_limit}")
    if grid == "infer" and (group_size or asymmetric or strategy or observer):
        raise ProblemError("--grid infer finds the group size and all else; leave the rest out")
    asked = grid
    if grid != "infer":
        asked = grid_rule(grid, group_size, asymmetric, strategy, observer)
    stopped = False
    with following("channels") as follow:
        from bounds.gap.files import read_weights
        from bounds.gap.judge import gap as judge
        from bounds.problem.gram import ROUNDINGS
        from layers.dump.file import read_dump

        if rounding not in ROUNDINGS:
            raise ProblemError(f"unknown --rounding {rounding!r}; choose {', '.join(ROUNDINGS)}")
        layer = read_dump(dump)
        given = read_weights(weights, (layer.weights.shape, layer.weight_shape), tensor)
        try:
            found = judge(
                layer,
                given,
                bits=bits,
                scale=_number(scale),
                grid=asked,
                keep=None if keep is None else _count(keep),
                pattern=None if pattern is None else pattern_of(pattern),
                size=size,
                method=method,
                time_limit=None if math.isinf(time_limit) else time_limit,
                rounding=rounding,
                progress=follow,
            )
        except Interrupted as stop:
            found, stopped = stop.found, True
    console = Console()
    for line in _lines(layer, found):
        console.print(line, highlight=False, soft_wrap=True)
    if out is not None:
        from bounds.present.figures.style import save_data

        typer.echo(save_data(_records(found), out))
    if stopped:
        raise Interrupted(found)


def _number(scale: str) -> str | float:
    try:
        return float(scale)
    except ValueError:
        return scale


def pattern_of(text: str) -> tuple[int, int]:
    """The two numbers of ``2:4``."""
    from bounds.errors import ProblemError

    most, colon, size = text.partition(":")
    if not (colon and most.isdecimal() and size.isdecimal()):
        raise ProblemError(f"--pattern takes N:M, such as 2:4, not {text!r}")
    return int(most), int(size)


def _count(keep: str) -> str | int:
    return int(keep) if keep.isdecimal() else keep


def _lines(layer: LayerDump, found: Gap) -> list[str]:
    """What is known, a sentence a line."""
    import math

    from bounds.gap.judge import worst_channels
    from bounds.problem.methods import JOINT, QUANTIZATION

    settled = ", ".join(f"{count} {status}" for status, count in found.statuses.items() if count)
    lines = [
        f"{layer.source} {layer.layer}: {found.problem}, {found.demand}",
        f"error {found.error.sum():.6g} of energy {found.energy.sum():.6g} per chunk: "
        f"{found.snr:.3f} dB",
        f"bound {found.snr_bound:.3f} dB, attained here {found.snr_attained:.3f} dB "
        f"(problems of one channel and chunk: {settled})",
    ]
    solved, asked = int(found.solved.sum()), int(found.asked.sum())
    if solved < asked:
        lines.append(
            f"stopped: {solved} of {asked} problems of one channel and chunk were judged, and all "
            "but the last line is about them"
        )
    if found.misfits:
        what = (
            "weights are not on the grid"
            if found.problem == QUANTIZATION
            else "chunks of a channel keep more weights, or are off the grid"
            if found.problem == JOINT
            else "chunks of a channel keep more weights"
        )
        lines.append(
            f"{found.misfits} of {found.pieces} {what}: the bound says nothing about the "
            f"{int((~found.fits).sum())} channels they are in, which are left out below"
        )
    if found.known.any():
        count, total = int(found.known.sum()), len(found.fits)
        which = "" if count == total else f" over {count} of {total} channels"
        lines.append(f"at most {_told(found.gap)} dB from optimal{which}")
        worst = [
            f"channel {c} at most {_told(float(found.channel_gaps[c]))}"
            for c in worst_channels(found, _SHOWN)
        ]
        lines.append(f"furthest: {', '.join(worst)} dB")
    else:
        lines.append("no channel fits, so no gap can be told")
    if math.isnan(found.layer_snr):
        lines.append("the layer as a whole: the dump does not hold its Gram matrix")
    else:
        lines.append(
            f"the layer as a whole, all its inputs together: {found.layer_snr:.3f} dB, held-out "
            f"images {found.heldout_snr:.3f} dB; this has no bound, chunks were judged one by one"
        )
    return lines


def _told(gap: float) -> str:
    import math

    return f"{gap:.3f}" if math.isfinite(gap) else "any number of"


def _records(found: Gap) -> list[dict[str, object]]:
    from bounds.problem.range import snr

    return [
        {
            "channel": channel,
            "chunks": int(found.solved[channel]),
            "fits": int(found.fits[channel]),
            "energy": float(found.energy[channel]),
            "error": float(found.error[channel]),
            "lower": float(found.lower[channel]),
            "upper": float(found.upper[channel]),
            "snr": snr(found.energy[channel], found.error[channel]),
            "snr_bound": snr(found.energy[channel], found.lower[channel]),
            "gap": float(found.channel_gaps[channel]),
        }
        for channel in range(len(found.energy))
    ]
