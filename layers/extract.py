"""Extraction: a network's layers as dumps on disk, each made once."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from layers.capture.collector import Reject
from layers.capture.gram import Blocks, block_width
from layers.capture.model import batch_recipe
from layers.capture.run import Progress, capture_source
from layers.capture.to_dump import LAYOUT, records, to_dump
from layers.dump.file import VERSION, dump_path, read_dump, write_dump
from layers.dump.geometry import Geometry
from layers.errors import CaptureError, DumpError
from layers.images.calibration import BUNDLED, Calibration, load_calibration
from layers.networks.batches import Batches
from layers.networks.open import open_source
from layers.networks.source import LayerInfo, Source

#: In the recipe of dumps whose convolutions were unfolded without stride, padding and dilation.
PLAIN = "plain unfold"
PLAIN_ENDING = ".plain-unfold"


def list_layers(source: str | Source) -> list[LayerInfo]:
    """Every layer of a network that can be captured: (name, kind, weight shape).

    Raises:
        SourceError: as ``open_source``.
    """
    return (open_source(source) if isinstance(source, str) else source).layers()


def extract(
    source: str | Source,
    layer_names: Sequence[str],
    images: str | Path | Calibration = BUNDLED,
    out_folder: str | Path = "dumps",
    *,
    heldout_fraction: float = 0.3,
    heldout_count: int | None = None,
    limit: int | None = None,
    blocks: Blocks = "auto",
    plain_unfold: bool = False,
    progress: Progress | None = None,
    reject: Reject | None = None,
) -> list[Path]:
    """Write one dump a layer; a layer whose dump is up to date is left alone.

    Up to date means: same network (weights and structure), preprocessing, images, split and
    options, and an undamaged file. All other layers are captured in one pass over the images.

    Args:
        source: a name for ``open_source``, or an opened source.
        layer_names: full names, unique suffixes, or patterns such as ``features.*.conv``.
        images: a folder, ``bundled``, or a calibration made by ``load_calibration``; a network
            that brings its own batches takes none.
        out_folder: where the files go; created.
        heldout_fraction: share of the images held out.
        heldout_count: number held out, instead of the fraction; 0 for no such part.
        limit: use only the first so many images.
        blocks: Gram blocks to keep, see ``layers.capture.gram.block_width``.
        plain_unfold: ignore stride, padding and dilation of convolutions, as the released code of
            Kuzmin et al. 2023 does; such dumps have names of their own and say so in the recipe.
        progress: called with (images done, images in all, image name).
        reject: called with a layer that cannot be captured (attention may call no module of its
            own) and the CaptureError that says why; the others are written all the same. Without
            it that error is raised, and nothing is written.

    Returns:
        The files of the layers that were captured, in the order of ``layer_names``.

    Raises:
        SourceError, CalibrationError, CaptureError: as opening, loading and capturing do.
        DumpError: a file cannot be written.
    """
    opened = open_source(source) if isinstance(source, str) else source
    if not layer_names:
        raise CaptureError(f"no layer of {opened.name} was named; list_layers shows what there is")
    calibration: Calibration | Batches
    if isinstance(images, Calibration):
        calibration = images
    elif opened.batches is not None:
        if str(images) != BUNDLED:
            raise CaptureError(f"{opened.name} brings its own batches; leave {images} out")
        calibration = opened.batches.split(heldout_fraction, heldout_count, limit)
    else:
        calibration = load_calibration(
            images, heldout_fraction=heldout_fraction, heldout_count=heldout_count, limit=limit
        )
    names = opened.resolve_all(layer_names, reject)
    ending = PLAIN_ENDING if plain_unfold else ""
    paths = {name: dump_path(out_folder, opened.name, name + ending) for name in names}
    recipe = _recipe(opened, calibration, blocks)
    if plain_unfold:
        recipe["lowering"] = PLAIN
    stale = [
        name
        for name, path in paths.items()
        if not _current(path, name, calibration, recipe, blocks)
    ]
    if stale:
        captured = capture_source(
            opened, stale, calibration, blocks=blocks, plain_unfold=plain_unfold,
            progress=progress, reject=reject,
        )  # fmt: skip
        for layer in captured:
            write_dump(paths[layer.name], to_dump(opened.name, layer, calibration, recipe))
        missing = set(stale) - {layer.name for layer in captured}
        names = [name for name in names if name not in missing]
    return [paths[name] for name in names]


def _recipe(source: Source, calibration: Calibration | Batches, blocks: Blocks) -> dict[str, str]:
    """What decides the numbers, besides the images' content."""
    if isinstance(calibration, Batches):
        return batch_recipe(source, calibration, blocks)
    # The preprocessed first image: catches a changed function that kept its name.
    first = source.preprocessing(calibration.images[0].open())
    return {
        "format": str(VERSION),
        "network": source.fingerprint(),
        "preprocessing": source.preprocessing.describe(),
        "first_input": hashlib.sha256(first.tobytes()).hexdigest(),
        "blocks": str(blocks),
        "images_from": calibration.origin if calibration.origin == BUNDLED else "folder",
        "licence": source.licence,
    }


def _current(
    path: Path,
    name: str,
    calibration: Calibration | Batches,
    recipe: Mapping[str, str],
    blocks: Blocks,
) -> bool:
    """Whether a dump exists, is whole, and was made from the same things."""
    if not path.exists():
        return False
    try:
        dump = read_dump(path)
    except DumpError:
        return False  # damaged or of another version: make it again
    geometry = Geometry(dump.kind, dump.weight_shape)
    return (
        dump.layer == name
        and dump.block_width == block_width(geometry, blocks)  # "auto" has become wider
        and {k: v for k, v in dump.recipe.items() if k != LAYOUT} == dict(recipe)
        and dump.images == records(calibration.images)
        and dump.heldout_images == records(calibration.heldout)
    )
