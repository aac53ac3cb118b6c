"""The layers an audit looks at: dumps of a study's networks, and their plainly unfolded twins."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from bounds.audit.chunks import audit_chunk, audit_unfolding
from bounds.audit.differences import Comparison
from bounds.study.plan.config import LayerChoice, Study
from bounds.study.plan.tasks import thin_out
from layers.dump.file import LayerDump, read_dump

Tell = Callable[[str], object]


def audit_study(
    study: Study,
    dumps: Path,
    *,
    bits: tuple[int, ...],
    chunks: int,
    channels: int,
    tell: Tell = lambda _: None,
) -> Iterator[Comparison]:
    """Audit every layer of a study; those whose network is not installed are told and left out.

    Args:
        study: whose layers, images and chunk size are taken.
        dumps: folder of extracted layers; what is missing is extracted.
        bits: widths; chunks, channels: most of each layer, evenly spaced.
        tell: is given a sentence at every step.

    Raises:
        LayerboundsError: no layer at all, or a dump that cannot be written.
    """
    from layers.errors import SourceError

    audited, missing = 0, None
    for choice in study.layers:
        try:
            pairs = _dumps(study, choice, dumps, tell)
        except SourceError as error:
            missing = error
            tell(f"left out: {', '.join(choice.names)}: {error}")
            continue
        for dump, plain in pairs:
            audited += 1
            tell(f"{dump.source} {dump.layer}")
            yield from _layer(dump, plain, study, bits, chunks, channels)
    if missing is not None and not audited:
        raise missing


def _layer(
    dump: LayerDump,
    plain: LayerDump | None,
    study: Study,
    bits: tuple[int, ...],
    chunks: int,
    channels: int,
) -> Iterator[Comparison]:
    size, seconds = study.solve.chunk, study.solve.time_limit
    parts = dump.chunks(size)
    for index in thin_out(len(parts), chunks, "even"):
        chunk = parts[index]
        rows = thin_out(len(chunk.weights), channels, "even")
        for width in bits:
            yield from audit_chunk(chunk, rows, width, seed=study.seed, time_limit=seconds)
            if plain is not None:
                twin = plain.chunks(size)[index]
                yield from audit_unfolding(chunk, twin, rows, width, time_limit=seconds)


def _dumps(
    study: Study, choice: LayerChoice, folder: Path, tell: Tell
) -> list[tuple[LayerDump, LayerDump | None]]:
    """Each layer's dump, and its plain twin where stride, padding or dilation make one differ."""
    from layers.extract import extract
    from layers.networks.open import open_source

    source = open_source(choice.source)
    options = {"heldout_count": study.calibration.heldout, "limit": study.calibration.limit}
    images = study.calibration.images
    tell(f"extracting from {choice.source}")
    found = [read_dump(p) for p in extract(source, choice.names, images, folder, **options)]
    moved = [dump.layer for dump in found if _moves(dump)]
    twins = extract(source, moved, images, folder, plain_unfold=True, **options) if moved else []
    plain = {dump.layer: dump for dump in map(read_dump, twins)}
    return [(dump, plain.get(dump.layer)) for dump in found]


def _moves(dump: LayerDump) -> bool:
    return (dump.stride, dump.padding, dump.dilation) != ((1, 1), (0, 0, 0, 0), (1, 1))
