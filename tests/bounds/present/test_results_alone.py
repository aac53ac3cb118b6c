"""What is shown is drawn from results alone: showing them can start no solver."""

from __future__ import annotations

import ast
from pathlib import Path

import bounds.present
from tests.layers.test_imports import imported_after

ROOT = Path(bounds.present.__file__).parent
ABOVE = {"present", "results", "problem", "errors"}


def test_present_imports_results_and_nothing_that_solves():
    seen = set()
    for path in ROOT.rglob("*.py"):
        # Imports inside functions count too, those of types alone do not.
        tree = ast.parse(path.read_text("utf-8"))
        types = [
            n for n in tree.body if isinstance(n, ast.If) and "TYPE_CHECKING" in ast.dump(n.test)
        ]
        unread = {node for one in types for node in ast.walk(one)}
        for node in set(ast.walk(tree)) - unread:
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                head, *rest = name.split(".")
                assert head != "layers", path
                if head == "bounds":
                    assert rest and rest[0] in ABOVE, f"{path} imports {name}"
                    seen.add(rest[0])
    assert seen == ABOVE


def test_no_kernel_is_loaded():
    loaded = imported_after("import bounds.present.figures, bounds.present.report")
    assert "bounds.present.figures" in loaded and "numba" not in loaded
    rooms = ("quantization", "pruning", "study", "linalg.cholesky", "linalg.ldl", "linalg.boxqp")
    assert not [m for m in loaded if m.startswith(tuple(f"bounds.{room}" for room in rooms))]
