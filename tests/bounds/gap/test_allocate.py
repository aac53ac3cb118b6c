"""Shared bits: dynamic programming against every allocation there is, and the limit on any."""

from __future__ import annotations

import json
from itertools import product

import numpy as np
import pytest

from bounds.errors import ProblemError
from bounds.gap.allocate import Choices, allocate, frontier, measure
from bounds.present.figures.frontier import frontier_figure
from tests.bounds.gap.judged_cases import draw_dump


def draw_choices(rng, layers, widths=(2, 3, 4, 8)) -> list[Choices]:
    found = []
    for i in range(layers):
        count = int(rng.integers(3, 40))
        attained = np.sort(rng.random(len(widths)))[::-1]
        found.append(
            Choices(
                f"layer{i}", widths, tuple(count * b + int(rng.integers(0, 3)) for b in widths),
                tuple(attained), tuple(attained * rng.random(len(widths))), count,
                float(rng.random() + 0.5),
            )
        )  # fmt: skip
    return found


@pytest.mark.parametrize("seed", range(5))
def test_against_every_allocation(seed):
    rng = np.random.default_rng(seed)
    layers = draw_choices(rng, 5)
    every = list(product(range(4), repeat=5))
    for proven in (False, True):
        found = frontier(layers, proven)
        assert (np.diff(found.storage) > 0).all() and (np.diff(found.errors) < 0).all()
        table = [
            (
                sum(one.storage[i] for one, i in zip(layers, picks, strict=True)),
                sum(
                    (one.lower if proven else one.attained)[i] * one.importance
                    for one, i in zip(layers, picks, strict=True)
                ),
            )
            for picks in every
        ]
        for budget in rng.integers(found.storage[0], found.storage[-1] + 9, 20):
            state = found.best(int(budget))
            best = min(error for size, error in table if size <= budget)
            assert found.errors[state] == pytest.approx(best, rel=1e-12)
            picks = tuple(int(i) for i in found.picks[state])
            assert table[every.index(picks)][0] == found.storage[state] <= budget


def test_no_allocation_is_below_the_limit():
    rng = np.random.default_rng(9)
    layers = draw_choices(rng, 6)
    count = sum(one.weights for one in layers)
    found = allocate(layers, 4.0)
    assert found.limit <= found.error and found.bits <= 4.0 + len(layers) / count
    for _ in range(300):
        picks = rng.integers(0, 4, 6)
        size = sum(one.storage[i] for one, i in zip(layers, picks, strict=True))
        if size <= 4.0 * count:
            # Any weights have at least the lower errors.
            true = sum(
                one.importance * (one.lower[i] + rng.random() * (one.attained[i] - one.lower[i]))
                for one, i in zip(layers, picks, strict=True)
            )
            assert true >= found.limit * (1 - 1e-12)
    more = allocate(layers, 6.0)
    assert more.error <= found.error and more.limit <= found.limit


def test_whole_layers_measured():
    dumps = [draw_dump("a", 6, 40, seed=1), draw_dump("b", 8, 9, groups=4, seed=2)]
    layers = measure(dumps, widths=(2, 4))
    for one, dump in zip(layers, dumps, strict=True):
        assert one.weights == dump.weights.size and one.lower[0] > one.lower[1] > 0
        assert all(low <= high for low, high in zip(one.lower, one.attained, strict=True))
        assert one.storage[1] - one.storage[0] == 2 * one.weights
    better = measure(dumps[:1], widths=(4,), method="best")
    assert better[0].attained[0] <= layers[0].attained[1]
    heavy = measure(dumps[:1], widths=(4,), importance={"a": 3.0})[0]
    assert heavy.importance == 3.0
    figure = frontier_figure(allocate(layers, 3.5))
    assert len(figure.axes[0].get_lines()) == 4


def test_what_cannot_be_allocated():
    layers = draw_choices(np.random.default_rng(0), 3)
    with pytest.raises(ProblemError, match="what all layers need at their fewest bits"):
        allocate(layers, 1.0)
    for bits in (0, -1, float("nan")):
        with pytest.raises(ProblemError, match="positive number of bits"):
            allocate(layers, bits)
    with pytest.raises(ProblemError, match="no layer"):
        frontier([])


def test_the_command(tmp_path):
    from typer.testing import CliRunner

    from bounds.cli.app import app
    from layers.dump.file import dump_path, write_dump

    for i, name in enumerate(("a", "b")):
        write_dump(dump_path(tmp_path / "dumps", "net", name), draw_dump(name, 4, 12, seed=i))
    record = tmp_path / "a.json"
    base = ["allocate", str(tmp_path / "dumps"), "--widths", "2,4"]
    done = CliRunner().invoke(
        app, [*base, "--bits", "5.5", "--json", str(record), "--figure", str(tmp_path / "f")]
    )
    assert done.exit_code == 0, done.output
    assert "true bits a weight" in done.output and "proven" in done.output
    read = json.loads(record.read_text())
    assert {one["layer"] for one in read["layers"]} == {"a", "b"} and read["limit"] <= read["error"]
    assert (tmp_path / "f.png").is_file() and (tmp_path / "f.pdf").is_file()
    for wrong in (
        ["--bits", "1"],
        ["--bits", "4", "--widths", "x"],
        ["--bits", "4", "--layer", "z"],
    ):
        assert CliRunner().invoke(app, [*base, *wrong]).exit_code == 2
