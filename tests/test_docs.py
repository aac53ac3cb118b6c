"""Every document's links lead somewhere, and its scripts run."""

from __future__ import annotations

import re

import pytest

import bounds
import layers
from tests.scripts import ROOT, blocks, run_script

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text("utf-8")):
        assert (page.parent / target).exists(), target


def test_a_method_of_ones_own_runs_as_written(tmp_path):
    (script,) = blocks("docs/add.md", "python")
    done = run_script(script, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "ceiling: attained" in done.stdout and "4 heuristic" in done.stdout


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
