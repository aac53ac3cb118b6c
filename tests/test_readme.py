"""The README's script prints what it says; commands and methods of the documents exist."""

from __future__ import annotations

import re

from layers.extract import extract
from tests.scripts import ROOT, blocks, run_script


def test_script_prints_what_the_readme_says(tmp_path):
    (script,) = blocks("README.md", "python")
    printed = blocks("README.md", "text")[0]
    # As the demo extracts it: the dump is the same, so are the numbers.
    extract("mobilenet-v2", ["features.8.conv.0"], "bundled", tmp_path / "dumps", heldout_count=6)
    done = run_script(script, tmp_path)
    assert (done.returncode, done.stdout) == (0, printed), done.stderr


def test_files_that_the_readme_points_to_are_there():
    text = (ROOT / "README.md").read_text("utf-8")
    targets = re.findall(r"\]\(([^)#:]+)\)", text)
    pictures = {"docs/ranges.png"}
    assert pictures <= set(targets)
    for target in targets:
        assert (ROOT / target).exists(), target
    for picture in pictures:
        assert (ROOT / picture).stat().st_size <= 300_000


def test_methods_of_the_documents_exist():
    from bounds.problem.methods import PROBLEMS, methods

    text = (ROOT / "docs" / "commands.md").read_text("utf-8")
    table = text.split("## Which method when\n")[1].split("\n## ")[0]
    for line in table.strip().splitlines()[2:]:
        for problem, cell in zip(PROBLEMS, line.split("|")[2:4], strict=True):
            named = re.findall(r"`([\w-]+)`", cell)
            assert named and set(named) <= set(methods(problem)), line


def test_commands_of_the_documents_are_all_there_are():
    from bounds.cli.app import app

    known = {command.callback.__name__ for command in app.registered_commands if command.callback}
    used = set(
        re.findall(r"^layerbounds (\w+)", "\n".join(blocks("docs/commands.md", "sh")), re.MULTILINE)
    )
    assert used == known
