"""The notebooks run, and what is shown beside each source is that source."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

MISSING = "pip install 'layerbounds[notebooks]'"
for package in ("jupytext", "nbclient", "ipykernel"):
    pytest.importorskip(package, reason=f"{package} is not installed: {MISSING}")
nbformat = pytest.importorskip("nbformat", reason=MISSING)
CellExecutionError = pytest.importorskip("nbclient.exceptions", reason=MISSING).CellExecutionError

ROOT = Path(__file__).resolve().parent.parent
NAMES = (
    "audit", "finetuning", "formats", "one_layer", "ranges", "theory", "weights_survey"
)  # fmt: skip
MOST_BYTES = 500_000


def load_render() -> ModuleType:
    """The script that renders the notebooks; it is no part of a package."""
    spec = importlib.util.spec_from_file_location("render", ROOT / "notebooks" / "render.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


render = load_render()


def source(name: str) -> Path:
    return ROOT / "notebooks" / f"{name}.py"


def rendered(name: str) -> Any:
    return nbformat.read(source(name).with_suffix(".ipynb"), as_version=4)


def contents(notebook: Any) -> list[tuple[str, str]]:
    return [(cell.cell_type, cell.source) for cell in notebook.cells]


def outputs(notebook: Any) -> list[Any]:
    return [out for cell in notebook.cells for out in cell.get("outputs", [])]


def figures(notebook: Any) -> int:
    return sum("image/png" in out.get("data", {}) for out in outputs(notebook))


def words(notebook: Any) -> str:
    return "\n".join(out.get("data", {}).get("text/markdown", "") for out in outputs(notebook))


def test_every_source_is_paired():
    assert tuple(path.stem for path in render.sources()) == NAMES
    assert sorted(path.stem for path in source("x").parent.glob("*.ipynb")) == list(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_pairs_agree(name):
    assert contents(rendered(name)) == contents(render.load(source(name))), (
        f"run `python notebooks/render.py {name}`"
    )


@pytest.mark.parametrize("name", NAMES)
def test_rendered_notebook_shows_figures_and_words_and_nothing_volatile(name):
    notebook = rendered(name)
    nbformat.validate(notebook)
    assert figures(notebook) >= 1
    assert "paper's finding" in words(notebook)
    kinds = {out.output_type for out in outputs(notebook)}
    assert kinds <= {"display_data"}, "no errors, warnings or prints are shown"
    assert notebook.metadata.keys() == {"kernelspec"}
    assert all(cell.metadata == {} for cell in notebook.cells)
    counts = [cell.execution_count for cell in notebook.cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1)), "run in order, from a fresh kernel"
    text = source(name).with_suffix(".ipynb").read_text("utf-8")
    assert len(text) <= MOST_BYTES
    assert str(ROOT) not in text
    assert not re.search(r"\b(nan|inf) dB", words(notebook))


@pytest.mark.parametrize("name", NAMES)
def test_notebook_runs(name, tmp_path, monkeypatch):
    monkeypatch.setenv("LAYERBOUNDS_NOTEBOOK_SMALL", "1")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    folder = tmp_path / "notebooks"
    folder.mkdir()
    try:
        notebook = render.run(source(name), folder)
    except CellExecutionError as error:
        pytest.fail(str(error))
    assert figures(notebook) == figures(rendered(name))
    assert "paper's finding" in words(notebook)
    assert contents(notebook) == contents(rendered(name))
