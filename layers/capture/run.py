"""Capture: run the images or batches through the network once and keep every layer's Gram."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch

from layers.capture.collector import CapturedLayer, Collector, Part, Reject
from layers.capture.gram import Blocks
from layers.errors import CaptureError
from layers.images.calibration import Calibration, CalibrationImage
from layers.networks.batches import Batch, Batches
from layers.networks.source import Source

# done, total, what is being done
Progress = Callable[[int, int, str], None]


def capture_source(
    source: Source,
    names: Sequence[str],
    calibration: Calibration | Batches,
    *,
    blocks: Blocks = "auto",
    plain_unfold: bool = False,
    progress: Progress | None = None,
    reject: Reject | None = None,
) -> list[CapturedLayer]:
    """Weights and Gram matrices of several layers, in one pass over the images.

    They run one at a time, so memory is that of one's activations and the Grams. All
    arithmetic is on one thread, so that equal inputs give equal bits on any number of cores.

    Args:
        source: the network.
        names: layers, by full name or unique suffix; named twice is captured once.
        calibration: the images, or batches.
        blocks: ``full``, ``auto``, or the width of the diagonal blocks to keep; see
            ``layers.capture.gram.block_width``.
        plain_unfold: ignore stride, padding and dilation, see ``Geometry.plain``.
        progress: called with (images done, images in all, image name).
        reject: called with a layer that cannot be captured and the CaptureError that says why; the
            others are captured all the same. Without it that error is raised.

    Raises:
        CaptureError: a layer that is unknown, unsupported, never fired, fired more than once,
            or saw NaN or infinite values.
        CalibrationError: an unreadable image.
    """
    resolved = list(dict.fromkeys(source.resolve(name) for name in names))
    if not resolved:
        raise CaptureError("no layer was named; list_layers shows what there is")
    collector = Collector(resolved, blocks, plain_unfold, reject, bool(calibration.heldout))
    todo: list[tuple[Part, CalibrationImage | Batch]] = [
        *(("calibration", image) for image in calibration.images),
        *(("heldout", image) for image in calibration.heldout),
    ]
    with one_thread(), source.runner(resolved, collector) as run:
        for done, (part, image) in enumerate(todo):
            if progress is not None:
                progress(done, len(todo), image.name)
            collector.begin(part, image.name)
            value = image.value if isinstance(image, Batch) else source.preprocessing(image.open())
            run(value)
        if progress is not None:
            progress(len(todo), len(todo), "done")
        return collector.results()


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch on one thread inside, as before outside."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
