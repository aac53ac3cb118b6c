"""The version of the code that makes a result: a digest of the solvers' source.

Part of every key, so a mended solver redoes its own results and nobody else's.
"""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from bounds.problem.methods import Method, find_method

_ROOT = Path(__file__).resolve().parents[3]
#: What makes rows beside the solvers themselves: read as they are, their imports not followed.
_ROWS = ("bounds/problem/methods.py", "bounds/study/run/solving.py", "layers/dump/layer.py")


@cache
def code_digest(problem: str, method: str = "exact") -> str:
    """Digest of the code that computes ``problem``: its package, and all of ours it imports.

    The module of a method from elsewhere is in it too.
    """
    digest = hashlib.sha256()
    chosen = find_method(problem, method)
    if not chosen.ours:
        digest.update(f"{chosen}\n".encode())
        digest.update(_source(chosen))
    files = [_ROOT / name for name in _ROWS]
    files += imported((_ROOT / "bounds" / problem).rglob("*.py"))
    for file in sorted(files):
        digest.update(f"{file.relative_to(_ROOT).as_posix()}\n".encode())
        # Line ends differ between checkouts on different systems.
        digest.update(file.read_bytes().replace(b"\r\n", b"\n"))
    return digest.hexdigest()


def _source(method: Method) -> bytes:
    path = getattr(sys.modules[method.load().__module__], "__file__", None)
    return Path(path).read_bytes() if path else b""


def imported(files: Iterator[Path]) -> set[Path]:
    """``files`` and every module of ``bounds`` that they import, directly or not."""
    found: set[Path] = set()
    waiting = list(files)
    while waiting:
        file = waiting.pop()
        if file not in found:
            found.add(file)
            waiting += _modules(file)
    return found


def _modules(file: Path) -> list[Path]:
    """Files of the modules of ``bounds`` that a file imports anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    paths = [_ROOT.joinpath(*name.split(".")) for name in names if name.split(".")[0] == "bounds"]
    candidates = [p for path in paths for p in (path.with_suffix(".py"), path / "__init__.py")]
    return [path for path in candidates if path.is_file()]
