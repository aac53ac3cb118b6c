"""Kernels compiled before any clock starts: once in a process for every method, and said so.

numba compiles a kernel when it is first called with arguments of new types, or takes it from its
cache on disk. Left alone that happens in the middle of a search, on the time limit of the first
channel. So every room that has kernels has a module ``kernels``, whose ``walk`` calls each of them
on tiny problems, and that is done before anybody looks at the clock.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module

from numba.core import event

from bounds.problem.methods import Method

MESSAGE = "compiling kernels (once)"

_lock = threading.RLock()
_ready: set[tuple[str, str]] = set()
_walking = False


class NotCompiledError(Exception):
    """A kernel is not in numba's cache (raised inside ``refusing`` only)."""


def compile_kernels(method: Method) -> None:
    """Compile, or load from numba's cache, every kernel that ``method`` can reach.

    Once in a process; other threads wait until it is done. What the walk itself solves does not
    walk again. The kernels of methods from elsewhere are their own concern.
    """
    global _walking
    key = method.kind, method.name
    if key in _ready or not method.ours:
        return
    with _lock:
        if _walking or key in _ready:
            return
        _walking = True
        try:
            with _announced():
                import_module(f"bounds.{method.kind}.kernels").walk(method)
        finally:
            _walking = False
        _ready.add(key)


@contextmanager
def refusing() -> Iterator[None]:
    """Inside, a kernel that would have to be compiled raises NotCompiledError instead."""

    def refuse() -> None:
        raise NotCompiledError

    with event.install_listener("numba:compile", _Ear(refuse)):
        yield


@contextmanager
def _announced() -> Iterator[None]:
    """Say on a terminal that kernels are compiled, if any really are."""
    said = False

    def say() -> None:
        nonlocal said
        if not said and sys.stderr is not None and sys.stderr.isatty():
            sys.stderr.write(f"{MESSAGE}\n")
            sys.stderr.flush()
        said = True

    with event.install_listener("numba:compile", _Ear(say)):
        yield


class _Ear(event.Listener):
    """Hears of kernels that are compiled, not of those that the cache has."""

    def __init__(self, heard: Callable[[], None]) -> None:
        self.heard = heard

    def on_start(self, event: event.Event) -> None:
        """A compilation begins."""
        self.heard()

    def on_end(self, event: event.Event) -> None:
        """It has ended; nobody asked."""
