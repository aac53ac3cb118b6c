"""The layers of a study as dumps on disk, extracted where they are not there yet."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bounds.errors import StudyError
from bounds.study.config import Study
from bounds.study.tasks import Layer, study_layer

if TYPE_CHECKING:
    from bounds.study.running import Observer


def extract_layers(study: Study, dumps: Path, observer: Observer) -> list[Layer]:
    """Extract what is missing and describe every layer, in the order of the study.

    Raises:
        SourceError, CalibrationError, CaptureError, DumpError: see ``layers.extract.extract``.
        StudyError: two names of the study mean the same layer.
    """
    from layers.extract import extract

    found: dict[Path, Layer] = {}
    for choice in study.layers:
        source = choice.source

        def progress(done: int, total: int, _image: str, source: str = source) -> None:
            observer.extracting(source, done, total)

        observer.opening(source)
        paths = extract(
            source,
            choice.names,
            study.calibration.images,
            dumps,
            heldout_count=study.calibration.heldout,
            limit=study.calibration.limit,
            progress=progress,
        )
        for name, path in zip(choice.names, paths, strict=True):
            if path in found:
                raise StudyError(
                    f"layers: {source} {name} is {found[path].name}, which is there already; "
                    "drop one"
                )
            found[path] = study_layer(path, choice, study.solve.chunk)
            observer.extracted(found[path])
    return list(found.values())
