"""Run the notebooks' sources and write the .ipynb files beside them, without volatile metadata.

``python notebooks/render.py [NAME ...]`` renders all, or those named (``theory``). Dumps and
results are looked for, and made, where the notebooks look: in the folder above this one.
"""

from __future__ import annotations

import sys
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).resolve().parent
MARKER = "# %%"


def sources() -> list[Path]:
    """The notebooks' sources: the scripts here that begin with a cell."""
    return [p for p in sorted(FOLDER.glob("*.py")) if p.read_text("utf-8").startswith(MARKER)]


def load(source: Path) -> nbformat.NotebookNode:
    """A source as a notebook without outputs; equal sources give equal notebooks."""
    notebook = jupytext.read(source)
    for index, cell in enumerate(notebook.cells):
        cell.id = f"cell-{index:02}"  # drawn at random otherwise
        cell.metadata = {}
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}
    }
    return notebook


def run(source: Path, cwd: Path) -> nbformat.NotebookNode:
    """The notebook of a source with its outputs, run in the folder ``cwd``."""
    notebook = load(source)
    kept = dict(notebook.metadata)
    client = NotebookClient(
        notebook,
        timeout=1800,
        kernel_name="python3",
        record_timing=False,
        resources={"metadata": {"path": str(cwd)}},
    )
    client.execute()
    notebook.metadata = kept  # the kernel adds its versions
    return notebook


def main(names: list[str]) -> None:
    """Render the named notebooks, or all."""
    for source in sources():
        if not names or source.stem in names:
            nbformat.write(run(source, FOLDER), source.with_suffix(".ipynb"))


if __name__ == "__main__":
    main(sys.argv[1:])
