"""Stage 1: pretrained networks -> the weights and inputs of their layers, as dumps on disk.

``extract_layers`` is ``layers.extract.extract``. Importing this package imports neither torch nor
numpy: names are loaded when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from layers.errors import CalibrationError, CaptureError, DumpError, LayerboundsError, SourceError

if TYPE_CHECKING:
    from layers.capture.collector import CapturedLayer
    from layers.capture.model import capture_layers, dump_from
    from layers.dump.file import Chunk, LayerDump, dump_path, read_dump, write_dump
    from layers.extract import extract as extract_layers
    from layers.extract import list_layers
    from layers.images.calibration import Calibration, load_calibration
    from layers.images.preprocessing import Preprocessing
    from layers.networks.open import open_source, source_names
    from layers.networks.source import LayerInfo, Source

# public name -> (module, name in it)
_LAZY = {
    "Calibration": ("layers.images.calibration", "Calibration"),
    "CapturedLayer": ("layers.capture.collector", "CapturedLayer"),
    "Chunk": ("layers.dump.file", "Chunk"),
    "LayerDump": ("layers.dump.file", "LayerDump"),
    "LayerInfo": ("layers.networks.source", "LayerInfo"),
    "Preprocessing": ("layers.images.preprocessing", "Preprocessing"),
    "Source": ("layers.networks.source", "Source"),
    "capture_layers": ("layers.capture.model", "capture_layers"),
    "dump_from": ("layers.capture.model", "dump_from"),
    "dump_path": ("layers.dump.file", "dump_path"),
    "extract_layers": ("layers.extract", "extract"),
    "list_layers": ("layers.extract", "list_layers"),
    "load_calibration": ("layers.images.calibration", "load_calibration"),
    "open_source": ("layers.networks.open", "open_source"),
    "read_dump": ("layers.dump.file", "read_dump"),
    "source_names": ("layers.networks.open", "source_names"),
    "write_dump": ("layers.dump.file", "write_dump"),
}

__all__ = [
    "Calibration",
    "CalibrationError",
    "CaptureError",
    "CapturedLayer",
    "Chunk",
    "DumpError",
    "LayerDump",
    "LayerInfo",
    "LayerboundsError",
    "Preprocessing",
    "Source",
    "SourceError",
    "capture_layers",
    "dump_from",
    "dump_path",
    "extract_layers",
    "list_layers",
    "load_calibration",
    "open_source",
    "read_dump",
    "source_names",
    "write_dump",
]


def __getattr__(name: str) -> Any:
    """Load a public name from its module."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _LAZY[name]
    value = getattr(import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Lazy names too."""
    return sorted({*globals(), *__all__})
