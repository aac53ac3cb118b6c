"""Any model, any inputs, from Python: layers and arrays to dumps in memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from layers.capture.collector import Reject
from layers.capture.gram import Blocks
from layers.capture.run import Progress, capture_source
from layers.capture.to_dump import to_dump
from layers.dump.file import VERSION
from layers.dump.layer import LayerDump
from layers.errors import CaptureError
from layers.images.preprocessing import Preprocessing
from layers.networks.batches import Batches, make_batches
from layers.networks.source import Source
from layers.networks.torch_module import ROOT, TorchSource


def capture_layers(
    model: nn.Module | Source,
    batches: Iterable[Any],
    names: str | Sequence[str] = "*",
    *,
    heldout: Iterable[Any] | None = None,
    blocks: Blocks = "auto",
    source: str = "model",
    progress: Progress | None = None,
    reject: Reject | None = None,
) -> list[LayerDump]:
    """The layers of any torch model as dumps, in one pass over whatever its forward takes.

    Args:
        model: in any state of training; run in evaluation mode, and left as it was.
        batches: each a tensor, a tuple of arguments, or a dict of named arguments: images, token
            ids, spectrograms, with their masks.
        names: of layers, unique endings of names, or patterns; ``"*"`` is every layer there is.
        heldout: the same kind of batches, which only judge the result; None for no such part.
        blocks: Gram blocks to keep, see ``layers.capture.gram.block_width``; ``"full"`` is what
            whole layers wider than 4096 inputs need.
        source: name of the model in the dumps.
        progress: called with (batches done, batches in all, batch name).
        reject: called with a layer that cannot be captured and the ``CaptureError`` that says why.
            By default that is an error for a layer that is named, and passed over in patterns.

    Returns:
        One dump a layer; ``layers.write_dump`` stores it.

    Raises:
        CaptureError: a layer that cannot be captured, or a batch that forward does not take.
        CalibrationError: no batch.
    """
    opened = model if isinstance(model, Source) else _source(source, model)
    parts = make_batches(batches, heldout)
    wanted = [names] if isinstance(names, str) else list(names)
    quiet = reject or _passed_over
    found = opened.resolve_all(wanted, quiet)
    captured = capture_source(
        opened, found, parts, blocks=blocks, progress=progress,
        reject=reject if reject or found == wanted else quiet,
    )  # fmt: skip
    recipe = batch_recipe(opened, parts, blocks)
    return [to_dump(opened.name, layer, parts, recipe) for layer in captured]


def dump_from(
    layer: nn.Module | Any,
    inputs: Any,
    heldout: Any = None,
    *,
    name: str = "layer",
    source: str = "arrays",
    stride: int | tuple[int, int] = 1,
    padding: str | int | tuple[int, int] = 0,
    dilation: int | tuple[int, int] = 1,
    groups: int = 1,
) -> LayerDump:
    """One layer and the inputs it sees as a dump, with its whole Gram matrix.

    Args:
        layer: a torch layer, which knows its stride and padding; or its weights, an array (out, in)
            or (out, in / groups, height, width) of numbers that fit float32.
        inputs: (..., in) or (batch, in, height, width); an array or tensor, or a list of several.
        heldout: the same, of inputs that only judge the result; None for no such part.
        name, source: of layer and network in the dump.
        stride, padding, dilation, groups: of a convolution given as weights.

    Raises:
        CaptureError: weights or inputs of another shape, not finite, or beyond float32.
    """
    if not isinstance(layer, nn.Module):
        layer = _module(layer, stride, padding, dilation, groups)
    reference = next(layer.parameters())
    parts = [
        None if part is None else [_input(one, reference) for one in _several(part)]
        for part in (inputs, heldout)
    ]
    assert parts[0] is not None
    [dump] = capture_layers(layer, parts[0], ROOT, heldout=parts[1], blocks="full", source=source)
    return replace(dump, layer=name)


def batch_recipe(source: Source, batches: Batches, blocks: Blocks) -> dict[str, str]:
    """What decides the numbers, besides the content of the batches."""
    return {
        "format": str(VERSION),
        "network": source.fingerprint(),
        "inputs": batches.origin,
        "blocks": str(blocks),
        "licence": source.licence,
    }


def _source(name: str, model: nn.Module) -> TorchSource:
    if not isinstance(model, nn.Module):
        raise CaptureError(f"the model is a {type(model).__name__}; give an nn.Module")
    return TorchSource(name, Preprocessing(), "your own", model)


def _passed_over(_name: str, _error: CaptureError) -> None:
    """What of a pattern cannot be captured."""


def _module(weights: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> nn.Module:
    """A layer in double precision with these weights."""
    values = _tensor(weights)
    if values.dim() not in (2, 4) or values.numel() == 0:
        raise CaptureError(
            f"weights have shape {tuple(values.shape)}; give (out, in) or (out, in / groups, "
            "height, width), or a torch layer"
        )
    if values.dim() == 2:
        module: nn.Module = nn.Linear(values.shape[1], values.shape[0], bias=False)
    else:
        out, per_group, *kernel = values.shape
        module = nn.Conv2d(
            per_group * groups,
            out,
            (kernel[0], kernel[1]),
            stride,
            padding,
            dilation,
            groups,
            False,
        )
    return _filled(module.double(), values)


def _filled(module: nn.Module, values: Tensor) -> nn.Module:
    with torch.no_grad():
        module.get_parameter("weight").copy_(values)
    return module


def _several(part: Any) -> list[Any]:
    return list(part) if isinstance(part, list | tuple) else [part]


def _input(value: Any, reference: Tensor) -> Tensor:
    tensor = _tensor(value)
    return tensor.to(reference.device, reference.dtype)


def _tensor(value: Any) -> Tensor:
    if isinstance(value, Tensor):
        return value.detach()
    try:
        return torch.from_numpy(np.array(value, np.float64))
    except (TypeError, ValueError) as error:
        raise CaptureError(f"a {type(value).__name__} is no array of numbers: {error}") from error
