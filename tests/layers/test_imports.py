"""What importing costs, and which way the data flows."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import layers

ROOT = Path(layers.__file__).parent


def imported_after(statement: str) -> set[str]:
    code = f"{statement}\nimport sys\nprint(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT.parent
    )
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("statement", "unwanted"),
    [
        ("import layers", {"torch", "numpy", "PIL", "onnx", "safetensors"}),
        ("import layers.dump.file; from layers import read_dump", {"torch", "PIL", "onnx"}),
        ("from layers import open_source, source_names; source_names()", {"torch", "onnx"}),
        ("import layers.errors", {"torch", "numpy"}),
    ],
)
def test_imports_are_cheap(statement: str, unwanted: set[str]) -> None:
    assert not imported_after(statement) & unwanted


def test_every_public_name_resolves() -> None:
    for name in layers.__all__:
        assert getattr(layers, name).__name__ == {"extract_layers": "extract"}.get(name, name)
    assert set(layers.__all__) <= set(dir(layers))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        layers.nothing  # noqa: B018


def test_layers_never_import_bounds() -> None:
    for path in ROOT.glob("**/*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not any(name.split(".")[0] == "bounds" for name in names), path
