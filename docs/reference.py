"""The API reference as HTML, made of the docstrings: ``python docs/reference.py FOLDER``.

A warning is an error: a public name that does not resolve, an annotation that names nothing, a
module that cannot be imported.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import sys
import warnings
from collections.abc import Iterator
from dataclasses import is_dataclass
from pathlib import Path
from types import ModuleType

import pdoc
from pdoc import extract, render
from pdoc.doc_types import resolve_annotations

import bounds
import layers

PACKAGES = (bounds, layers)


def module_names() -> Iterator[str]:
    """Every module of ours, packages first."""
    for package in PACKAGES:
        yield package.__name__
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("__main__"):
                yield module.name


def spell_out(kind: type) -> None:
    """Give the constructor that a dataclass or NamedTuple was given the types of its fields.

    Their annotations are text that means something where each field was written, which may be
    another module than the class's.
    """
    hints = {}
    for base in reversed(kind.__mro__):
        written = inspect.get_annotations(base)
        home = sys.modules[base.__module__]
        hints |= resolve_annotations(written, home, None, f"{kind.__module__}.{kind.__name__}")
    made = kind.__new__ if hasattr(kind, "_fields") else kind.__init__
    made.__annotations__ = {n: hints.get(n, hint) for n, hint in made.__annotations__.items()}


def classes(module: ModuleType) -> Iterator[type]:
    """Dataclasses and NamedTuples that a module defines."""
    for _, kind in inspect.getmembers(module, inspect.isclass):
        if kind.__module__ == module.__name__ and (is_dataclass(kind) or hasattr(kind, "_fields")):
            yield kind


def write_reference(folder: Path) -> None:
    """One page a module, and a search over all."""
    for package in PACKAGES:
        for name in package.__all__:  # loaded when first used, so used now
            vars(package)[name] = getattr(package, name)
    names = list(module_names())
    for name in names:
        for kind in classes(importlib.import_module(name)):
            spell_out(kind)
    # pdoc leaves out what a package's __all__ does not name; every module of ours has its page.
    specs: list[str] = []
    paged: set[str] = set()
    for name in names:
        if name not in paged:
            specs.append(name)
            paged.update(extract.walk_specs([name]))
    render.configure(docformat="google", show_source=False)
    pdoc.pdoc(*specs, output_directory=folder)


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.filterwarnings("error", category=UserWarning)
        write_reference(Path(sys.argv[1]))
