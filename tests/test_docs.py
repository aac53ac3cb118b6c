"""Every document's links lead somewhere, and its scripts run."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

import bounds
import layers
from bounds.study import Solve
from tests.scripts import ROOT, blocks, run_script

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text("utf-8")):
        assert (page.parent / target).exists(), target


def headings(page: Path) -> set[str]:
    """Anchors of a page, as they are made of its headings."""
    found = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", text.lower()).replace(" ", "-") for text in found}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_anchors_lead_to_headings(page):
    for target, anchor in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", page.read_text("utf-8")):
        there = page.parent / target if target else page
        assert anchor in headings(there), (page.name, target, anchor)


def test_pages_and_files_cited_in_code_exist():
    """Paths of this repository in docstrings, comments and prose."""
    cited = r"\b((?:docs|tests|bounds|layers|notebooks)/[\w/.-]+\.(?:md|py|toml|ipynb|png))\b"
    code = [path for room in ("bounds", "layers", "tests") for path in (ROOT / room).rglob("*.py")]
    for path in [*code, *PAGES]:
        for name in re.findall(cited, path.read_text("utf-8")):
            assert (ROOT / name).exists(), (path, name)


def test_every_page_of_docs_is_linked_from_the_readme():
    text = (ROOT / "README.md").read_text("utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        assert f"(docs/{page.name})" in text, page.name


def test_documents_are_in_the_sdist():
    table = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    assert {"docs", "notebooks", "tests"} <= set(
        table["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    )


def test_every_public_name_has_a_docstring_in_the_reference():
    for package in (bounds, layers):
        for name in package.__all__:
            assert (getattr(package, name).__doc__ or "").strip(), name


def test_a_method_of_ones_own_runs_as_written(tmp_path):
    (script,) = blocks("docs/add.md", "python")
    done = run_script(script, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "ceiling: attained" in done.stdout and "4 heuristic" in done.stdout


def test_grids_are_asked_for_as_written(tmp_path):
    (script,) = blocks("docs/formats.md", "python")
    done = run_script(script, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "codebook, exact: attained" in done.stdout and "4 exact) 3.5" in done.stdout
    (table,) = blocks("docs/formats.md", "toml")
    grids = tuple(tomllib.loads(table)["grids"])
    assert Solve(grids=grids).grids == ("int4-g128-mse", "nf4", "int3-g64-asym")


def test_judging_any_model_runs_as_written(tmp_path):
    (script,) = blocks("docs/judge.md", "python")
    done = run_script(script, tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 4 and "rounded to nearest" in lines[0] and lines[3] == "(24, 32)"


def test_modules_named_in_docstrings_exist():
    """What is cited in double backquotes as a module of ours is one, or a name in one."""
    for path in [*(ROOT / "bounds").rglob("*.py"), *(ROOT / "layers").rglob("*.py")]:
        for name in re.findall(r"``((?:bounds|layers)\.[\w.]+)``", path.read_text("utf-8")):
            parts = name.split(".")
            homes = [ROOT.joinpath(*parts[:end]) for end in range(len(parts), 1, -1)]
            public = name in {f"{p.__name__}.{n}" for p in (bounds, layers) for n in p.__all__}
            there = any(h.is_dir() or h.with_suffix(".py").is_file() for h in homes)
            assert public or there, (path, name)
