"""The range figure: what it draws is what the results say, compared as data and not as pixels."""

from __future__ import annotations

import math
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.collections import PatchCollection
from matplotlib.colors import to_hex

from bounds.errors import StudyError
from bounds.present.figures import caption, corners, optimum, range_figure, range_panel, save_figure
from bounds.results.ranges import chunk_pairs, load_rows
from bounds.results.verdicts import UNDECIDED


@pytest.fixture
def rows(ran):
    return load_rows(ran.results / "tiny")


def by_method(rows, problem, layer, chunk, bits):
    return {
        r.method: r
        for r in rows
        if (r.problem, r.layer, r.chunk, r.bits) == (problem, layer, chunk, bits)
    }


def drawn_boxes(ax) -> set[tuple[float, ...]]:
    """Left, bottom, right, top of every rectangle in a panel, rounded."""
    boxes = set()
    for collection in ax.collections:
        if isinstance(collection, PatchCollection):
            for path in collection.get_paths():
                box = path.get_extents()
                boxes.add(tuple(np.round([box.x0, box.y0, box.x1, box.y1], 6)))
    return boxes


def test_rectangles_run_from_quick_methods_to_relaxations_and_dots_are_optima(rows):
    pairs = chunk_pairs(rows)
    assert len(pairs) == 6
    for pair in pairs:
        assert pair.chunk is not None
        place = (pair.layer, pair.chunk, pair.bits)
        p = by_method(rows, "pruning", *place)
        q = by_method(rows, "quantization", *place)
        left, bottom, right, top = corners(pair)
        assert left == max(p["magnitude-ls"].snr_attained, p["perspective"].snr_attained)
        assert bottom == max(q["gptq"].snr_attained, q["sdp"].snr_attained)
        assert right == p["perspective"].snr_bound
        assert top == q["sdp"].snr_bound
        x, y = optimum(pair)
        assert (x, y) == (p["exact"].snr_attained, q["exact"].snr_attained)
        assert left - 1e-9 <= x <= right + 1e-9 and bottom - 1e-9 <= y <= top + 1e-9


def test_figure_has_a_panel_per_layer_and_one_for_all(rows):
    pairs = chunk_pairs(rows)
    figure = range_figure(rows)
    panels = figure.axes
    assert [ax.get_title().split("\n")[-1] for ax in panels] == ["pointwise", "head", "all layers"]
    for ax, chosen in zip(
        panels,
        (pairs[:2], pairs[2:], pairs),
        strict=True,
    ):
        expected = {tuple(np.round(corners(pair), 6)) for pair in chosen}
        assert drawn_boxes(ax) == expected
        dots = {
            tuple(np.round(point, 9))
            for line in ax.lines
            if line.get_marker() == "."
            for point in np.asarray(line.get_xydata())
        }
        assert dots == {tuple(np.round(optimum(pair), 9)) for pair in chosen}
        right, top = ax.get_xlim()[1], ax.get_ylim()[1]
        assert all(c[2] <= right and c[3] <= top for c in map(corners, chosen))
    assert "per chunk" in figure.get_supxlabel() and "per chunk" in figure.get_supylabel()


def test_diagonal_is_the_diagonal(rows):
    figure = range_figure(rows, width="column")
    for ax in figure.axes:
        diagonal = np.asarray(ax.lines[0].get_xydata())
        assert (diagonal[:, 0] == diagonal[:, 1]).all()
        assert diagonal[1, 0] >= max(ax.get_xlim()[1], ax.get_ylim()[1])


def test_caption_counts_proven_rankings(rows):
    pairs = chunk_pairs(rows)
    won = [pair.verdict.winner for pair in pairs]
    text = caption(pairs)
    assert text.startswith("6 rectangles")
    assert f"quantization {won.count('quantization')}, pruning {won.count('pruning')}" in text
    assert text.endswith(f"undecided {won.count(UNDECIDED)}")


def test_a_side_without_bound_runs_out_of_the_panel(rows):
    open_rows = [replace(r, lower=0.0) if r.problem == "pruning" else r for r in rows]
    pairs = chunk_pairs(open_rows)
    assert all(math.isinf(corners(pair)[2]) for pair in pairs)
    _, ax = plt.subplots()
    try:
        range_panel(pairs, ax=ax)
        boxes = drawn_boxes(ax)
        assert len(boxes) == len(pairs)
        assert all(right > ax.get_xlim()[1] for _, _, right, _ in boxes)
    finally:
        plt.close("all")


def test_no_dot_where_one_problem_is_open(rows):
    some = [replace(r, exact=0) if r.problem == "pruning" else r for r in rows]
    assert all(math.isnan(value) for pair in chunk_pairs(some) for value in optimum(pair))


def test_bit_widths_keep_their_colours_in_every_panel(rows):
    colours = []
    for ax in range_figure(rows).axes:
        groups = [c for c in ax.collections if isinstance(c, PatchCollection)]
        colours.append([to_hex(np.asarray(g.get_edgecolor())[0]) for g in groups])
    assert colours[0] == colours[1] == colours[2]
    assert len(set(colours[0])) == 2


def test_files_are_whole_and_reproducible(rows, tmp_path):
    first = save_figure(range_figure(rows), tmp_path / "a" / "ranges")
    second = save_figure(range_figure(rows), tmp_path / "b" / "ranges")
    assert [path.name for path in first] == ["ranges.png", "ranges.pdf"]
    assert first[0].read_bytes().startswith(b"\x89PNG")
    assert first[1].read_bytes().startswith(b"%PDF")
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == ["ranges.pdf", "ranges.png"]


def test_refusals(rows, tmp_path):
    with pytest.raises(StudyError, match="column, text"):
        range_figure(rows, width="poster")
    with pytest.raises(StudyError, match="both problems"):
        range_figure([r for r in rows if r.problem == "pruning"])
    (tmp_path / "file").write_text("not a folder", "utf-8")
    with pytest.raises(StudyError, match="cannot be written"):
        save_figure(range_figure(rows), tmp_path / "file" / "ranges")
