"""Every command: its help, what it does, and what it says when it cannot."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from dataclasses import replace
from inspect import signature
from pathlib import Path

import numpy as np
import pytest

from bounds import GridRule, pruning_range, quantization_range
from bounds.cli import main
from bounds.problem.gram import round_weights
from bounds.problem.grid import choose_scale
from bounds.problem.methods import table
from bounds.results.ranges import load_rows
from bounds.study import format_study
from layers.dump.file import dump_path, read_dump
from tests.bounds.study.study_cases import TINY, loud_study, timeless, tiny_study

COMMANDS = (
    "study",
    "finetune",
    "report",
    "table",
    "figure",
    "anytime",
    "fair",
    "layers",
    "extract",
    "layer",
    "solve",
    "verify",
    "gap",
    "audit",
    "fuzz",
    "methods",
)


@pytest.fixture
def cli(capsys, monkeypatch):
    """Run the command line: (exit code, output, errors)."""
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")

    def run(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        output = capsys.readouterr()
        code = stop.value.code
        assert isinstance(code, int)
        return code, output.out, output.err

    return run


@pytest.fixture
def head(ran):
    return dump_path(ran.dumps, TINY, "head")


def refused(result: tuple[int, str, str], *parts: str) -> None:
    """A user's mistake: one sentence on the error output, and no traceback."""
    code, _, errors = result
    assert code == 2
    assert "Traceback" not in errors
    assert errors.startswith("error: ") and errors.count("\n") == 1, errors
    for part in parts:
        assert part in errors


@pytest.mark.parametrize("command", [(), *((c,) for c in COMMANDS)])
def test_help(cli, command):
    code, out, _ = cli(*command, "--help")
    assert code == 0 and "Usage" in out
    if not command:
        assert all(name in out for name in COMMANDS)


def test_version(cli):
    code, out, _ = cli("--version")
    assert code == 0 and out.startswith("layerbounds")


def test_help_imports_nothing_slow():
    program = (
        "import sys\n"
        "from bounds.cli import main\n"
        "try:\n    main(['solve', '--help'])\n"
        "except SystemExit as stop:\n    assert stop.code == 0\n"
        "slow = {'numpy', 'torch', 'numba', 'cvxpy', 'scipy', 'matplotlib', 'pyarrow'}\n"
        "assert not slow & set(sys.modules), slow & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, timeout=60)


def test_unknown_command_is_refused(cli):
    code, _, errors = cli("solv")
    assert code == 2 and "solv" in errors


def test_methods(cli):
    code, out, _ = cli("methods")
    assert code == 0
    first, second = out.split("\npruning")
    for kind, text in (("quantization", first), ("pruning", second)):
        rows = {line.split()[0]: line for line in text.splitlines() if line.strip()}
        for method in table(kind):
            assert rows[method.name].split()[1] == method.proves
            assert all(what in text for what in method.takes)
            assert method.costs and method.costs.split()[0] in rows[method.name]
    assert "pyscipopt" in second


def test_methods_are_there_at_once():
    """No solver is loaded for a table of words."""
    program = (
        "import sys\n"
        "from bounds.cli import main\n"
        "try:\n    main(['methods'])\n"
        "except SystemExit as stop:\n    assert not stop.code\n"
        "slow = {'numpy', 'torch', 'numba', 'cvxpy', 'scipy', 'matplotlib', 'pyarrow'}\n"
        "assert not slow & set(sys.modules), slow & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, timeout=60)


def test_the_time_limit_is_that_of_python():
    from bounds.cli.judging import gap
    from bounds.cli.solving import solve
    from bounds.problem.limits import DEFAULT_SECONDS

    for command in (gap, solve):  # a number of its own, for numpy comes with the other
        assert signature(command).parameters["time_limit"].default == DEFAULT_SECONDS


def test_layers(cli):
    code, out, _ = cli("layers", TINY)
    assert code == 0
    lines = {line.split()[0]: line.split()[1:] for line in out.splitlines() if line.strip()}
    assert lines["depthwise"] == ["conv2d", "8", "x", "1", "x", "3", "x", "3"]
    assert lines["head"] == ["linear", "12", "x", "40"]


def test_layers_of_an_unknown_source_lists_the_known(cli):
    refused(cli("layers", "mobilnet-v2"), "mobilenet-v2", "efficientnet-lite0", "vit-s14")


def test_extract(cli, images, tmp_path):
    arguments = ("extract", TINY, "stem", "head", "--images", images, "--out", tmp_path)
    code, out, _ = cli(*arguments, "--heldout", 2)
    assert code == 0
    paths = [Path(line) for line in out.splitlines()]
    assert [read_dump(path).layer for path in paths] == ["stem", "head"]
    before = [path.stat().st_mtime_ns for path in paths]
    assert cli(*arguments, "--heldout", 2)[:2] == (0, out)
    assert [path.stat().st_mtime_ns for path in paths] == before


def test_extract_all_names_what_it_leaves_out(cli, images, tmp_path):
    source = "tests.layers.tiny:attention"
    at = ("--images", images, "--out", tmp_path, "--heldout", 2)
    code, out, errors = cli("extract", source, "--all", *at)
    assert code == 0
    names = [read_dump(Path(line)).layer for line in out.splitlines()]
    attention = ["attention.in_proj", "attention.out_proj"]
    assert names == ["stem", *attention, "blocks.0", "blocks.1"]
    assert errors.count("left out") == 2 and "'unused'" in errors
    assert cli("extract", source, "blocks.*", *at)[:2] == (
        0,
        "\n".join(out.splitlines()[3:]) + "\n",
    )
    # A layer asked for by its name is missed.
    code, named, errors = cli("extract", source, "stem", "broken", *at)
    assert code == 1 and named.splitlines() == out.splitlines()[:1] and "'broken'" in errors


def test_extract_refuses(cli, images, tmp_path):
    at = ("--images", images, "--out", tmp_path / "out", "--heldout", 2)
    refused(cli("extract", TINY, "heed", *at), "heed", "head")
    refused(cli("extract", TINY, "he?d.x", *at), "he?d.x", "head")
    refused(cli("extract", TINY, *at), "--all", "layerbounds layers")
    refused(cli("extract", TINY, "head", "--all", *at), "--all")
    refused(cli("extract", TINY, "head", "--images", tmp_path / "none"), "none", "does not exist")
    refused(cli("extract", TINY, "head", *at[:4], "--heldout", 6), "6")
    assert not (tmp_path / "out").exists()


def test_solve_quantization_says_what_the_solver_says(cli, head):
    code, out, _ = cli("solve", head, "--bits", 3, "--chunk", 1, "--size", 12)
    assert code == 0
    chunk = read_dump(head).chunks(12)[1]
    weights = round_weights(chunk.weights, "fp16")
    found = quantization_range(chunk.gram, weights, bits=3, scale=choose_scale(weights, 3))
    (line,) = (line for line in out.splitlines() if "exact" in line and "quantization" not in line)
    assert line.split() == [
        *("1", "12", "12", f"{found.snr_attained:.3f}", f"{found.snr_bound:.3f}"),
        *(f"{found.upper.sum():.6g}", f"{found.lower.sum():.6g}", "12", "exact"),
    ]


def test_solve_one_channel_uses_the_step_of_all(cli, head):
    code, out, _ = cli("solve", head, "--bits", 2, "--channel", 5, "--size", 12)
    assert code == 0
    chunk = read_dump(head).chunks(12)[0]
    weights = round_weights(chunk.weights, "fp16")
    found = quantization_range(chunk.gram, weights[5], bits=2, scale=choose_scale(weights, 2))
    assert f"{found.upper[0]:.6g}" in out and "1 exact" in out


def test_solve_on_a_grid_of_the_whole_layer(cli, head):
    asked = ("--grid", "int3", "--group-size", 8, "--asymmetric", "--observer", "mse")
    code, out, _ = cli("solve", head, *asked, "--chunk", 1, "--size", 12)
    assert code == 0 and "int3-g8-asym-mse (5.375 bits a weight in all)" in " ".join(out.split())
    dump = read_dump(head)
    chunk, weights = dump.chunks(12)[1], round_weights(dump.weights.astype(float), "fp16")
    grid = GridRule.parse("int3-g8-asym-mse").grid(weights).columns(40, chunk.features)
    found = quantization_range(chunk.gram, weights[:, chunk.features], grid=grid)
    assert f"{found.upper.sum():.6g}" in out and f"{found.snr_bound:.3f}" in out


def test_gap_on_a_grid(cli, head, tmp_path):
    weights = read_dump(head).weights.astype(float)
    grid = GridRule.parse("int4-g8").grid(weights)
    np.save(tmp_path / "w.npy", grid.values(grid.codes(weights)))
    asked = ("gap", head, "--weights", tmp_path / "w.npy", "--size", 12)
    for options in (("--grid", "int4", "--group-size", 8), ("--grid", "infer")):
        code, out, _ = cli(*asked, *options)
        assert code == 0 and "int4 in groups of 8" in out and "dB from optimal" in out
    refused(cli(*asked, "--grid", "infer", "--asymmetric"), "--grid infer finds")


def test_solve_all_chunks_and_pruning(cli, head):
    arguments = ("solve", head, "--problem", "pruning", "--size", 12, "--chunk", "all")
    code, by_bits, _ = cli(*arguments, "--bits", 4, "--method", "perspective")
    assert code == 0 and "48 certified" in by_bits
    code, by_keep, _ = cli(*arguments[:4], "--size", 12, "--keep", 3, "--method", "perspective")
    assert code == 0
    # 12 features at 4 bits keep 3: the same first chunk.
    assert by_keep.splitlines()[4] == by_bits.splitlines()[4]


def test_solve_grouped_channel(cli, images, tmp_path):
    _, out, _ = cli(
        "extract", TINY, "depthwise", "--images", images, "--out", tmp_path, "--heldout", 2
    )
    dump = out.strip()
    code, out, _ = cli("solve", dump, "--bits", 4, "--chunk", "all", "--channel", 3)
    assert code == 0 and "1 exact" in out
    refused(cli("solve", dump, "--bits", 4, "--chunk", 0, "--channel", 3), "group 0", "0 to 0")


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("--bits", "4", "--method", "best"), ("best", "gptq", "exact")),
        (("--bits", "4", "--problem", "both"), ("both", "quantization, pruning")),
        (("--bits", "17"), ("17", "1 to 16")),
        ((), ("--bits",)),
        (("--keep", "3"), ("--bits",)),
        (("--problem", "pruning"), ("--bits or --keep",)),
        (("--problem", "pruning", "--bits", "4", "--keep", "3"), ("--bits or --keep",)),
        (("--problem", "pruning", "--keep", "99"), ("99",)),
        (("--bits", "4", "--chunk", "9"), ("9", "0 to 1")),
        (("--bits", "4", "--channel", "x"), ("x", "0 to 11")),
        (("--bits", "4", "--size", "0"), ("1 or more",)),
        (("--grid", "int5000"), ("unknown grid 'int5000'",)),
        (("--grid", "int4", "--bits", "4"), ("one of --bits or --grid",)),
        (("--grid", "int4", "--problem", "pruning"), ("--grid is for quantization",)),
        (("--grid", "int4", "--scale", "minmax"), ("--observer",)),
        (("--grid", "int4", "--strategy", "group"), ("needs --group-size",)),
        (("--grid", "nf4", "--asymmetric"), ("no zero points",)),
        (("--bits", "4", "--group-size", "32"), ("--group-size belongs to a grid",)),
        (("--bits", "4", "--scale", "best"), ("minmax-channel",)),
        (("--bits", "4", "--rounding", "fp8"), ("fp16, bf16, none",)),
        (("--bits", "4", "--time-limit", "-1"), ("positive",)),
        (("--bits", "4", "--box", "2"), ("--box", "pruning")),
        (("--problem", "pruning", "--keep", "3", "--box", "-2"), ("box", "positive", "-2")),
        (("--problem", "pruning", "--keep", "3", "--pairs", "2"), ("--pairs",)),
    ],
)
def test_solve_refuses(cli, head, arguments, parts):
    refused(cli("solve", head, *arguments), *parts)


def test_layer_says_what_is_attained_proven_and_decided(cli, head, tmp_path):
    out_file = tmp_path / "layer.csv"
    code, out, _ = cli("layer", head, "--bits", "2,4", "--damping", 0.01, "--out", out_file)
    assert code == 0
    assert "damped by 0.01 of the mean diagonal" in out and "no proof for these very" in out
    assert len(re.findall(r"bits against \d+ of \d+ weights kept: ", out)) == 2
    with out_file.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["bits"] for row in rows] == ["2", "4"]
    for row in rows:
        assert 0 < float(row["proven"]) <= float(row["error_best"])
        assert row["damping"] == "0.01" and row["certainty"] in ("proven", "likely", "undecided")


def test_layer_refuses(cli, head):
    refused(cli("layer", head, "--bits", "four"), "--bits", "four")
    refused(cli("layer", head, "--damping", -1), "--damping")
    refused(cli("layer", head, "--method", "best"), "best", "sdp-shared")


def test_solve_in_a_box(cli, head):
    """The box is that of all the chunk's weights, whichever channel is solved."""
    arguments = ("solve", head, "--problem", "pruning", "--size", 12, "--keep", 3, "--box", 0.3)
    chunk = read_dump(head).chunks(12)[0]
    weights = round_weights(chunk.weights, "fp16")
    found = pruning_range(chunk.gram, weights, keep=3, box=0.3)
    free = pruning_range(chunk.gram, weights, keep=3)
    assert (found.upper > free.upper).any()
    code, out, _ = cli(*arguments)
    assert code == 0 and "in a box of factor 0.3" in out
    assert f"{found.upper.sum():.6g}" in out and f"{found.lower.sum():.6g}" in out
    channel = int(np.argmax(found.upper - free.upper))
    code, out, _ = cli(*arguments, "--channel", channel)
    assert code == 0 and f"{found.upper[channel]:.6g}" in out


@pytest.mark.parametrize(
    ("extra", "parts"),
    [
        (("--certificate", "DIR"), ("folder", "name a file")),
        (("--certificate", "FILE/below.jsonl"), ("cannot write", "FILE")),
        (("--certificate", "DIR/c.jsonl", "--pattern", "2:4"), ("--pattern",)),
        (("--certificate", "DIR/c.jsonl", "--keep", "3", "--box", "2"), ("--box",)),
    ],
)
def test_what_cannot_be_certified_is_told_before_solving(
    cli, head, tmp_path, extra, parts, monkeypatch
):
    (tmp_path / "FILE").write_text("")
    (tmp_path / "DIR").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("bounds.study.run.solving.answer", lambda *_, **__: pytest.fail("solved"))
    size = () if "--pattern" in extra or "--keep" in extra else ("--keep", "3")
    refused(cli("solve", head, "--problem", "pruning", *size, *extra), *parts)


def test_solve_refuses_what_is_no_dump(cli, tmp_path):
    refused(cli("solve", tmp_path / "no.safetensors", "--bits", 4), "no.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(b"nothing")
    refused(cli("solve", tmp_path / "bad.safetensors", "--bits", 4), "bad.safetensors")


def test_debug_shows_the_error(capsys, head):
    from bounds.errors import StudyError

    with pytest.raises(StudyError):
        main(["--debug", "solve", str(head), "--bits", "17"])


@pytest.fixture
def study_file(images, tmp_path):
    file = tmp_path / "tiny.toml"
    file.write_text(format_study(tiny_study(images)), "utf-8")
    return file


def test_study_then_figure(cli, ran, study_file, tmp_path):
    at = ("--results", tmp_path / "results", "--dumps", ran.dumps)
    code, out, errors = cli("study", study_file, *at)
    folder = tmp_path / "results" / "tiny"
    assert (code, errors) == (0, "")
    assert "18 tasks solved, 0 found finished, 0 failed" in out
    assert f"figure: {folder / 'ranges.png'}" in out
    assert "a second" in out and "extract" not in out  # no progress outside a terminal
    assert timeless(load_rows(folder)) == timeless(load_rows(ran.report.results))
    code, out, _ = cli("study", study_file, *at, "--workers", 1)
    assert code == 0 and "0 tasks solved, 18 found finished" in out
    assert "0 results new, 36 kept" in out
    study_file.write_text(study_file.read_text("utf-8").replace("[2, 4]", "[2, 3, 4]"), "utf-8")
    assert "18 results new, 36 kept" in cli("study", study_file, *at)[1]

    code, out, _ = cli("figure", folder, "--out", tmp_path / "new" / "fig", "--width", "column")
    assert code == 0
    assert [Path(line).name for line in out.splitlines()] == ["fig.png", "fig.pdf", "fig.csv"]
    assert all(Path(line).stat().st_size > 400 for line in out.splitlines())


def test_study_with_a_failing_task_exits_with_one(cli, ran, images, tmp_path):
    file = tmp_path / "loud.toml"
    file.write_text(format_study(loud_study(images)), "utf-8")
    code, out, _ = cli("study", file, "--results", tmp_path / "results", "--dumps", ran.dumps)
    assert code == 1
    assert "12 tasks solved, 0 found finished, 6 failed" in out
    assert "FP16" in out and "Traceback" not in out


def test_study_whose_tasks_all_fail_still_says_so(cli, ran, images, tmp_path):
    study = loud_study(images)
    only = replace(study, layers=(replace(study.layers[1], max_chunks=1),))
    file = tmp_path / "loud.toml"
    file.write_text(format_study(only), "utf-8")
    code, out, errors = cli("study", file, "--results", tmp_path, "--dumps", ran.dumps)
    assert code == 1 and "6 failed" in out and errors == ""


def test_study_with_one_problem_only_has_no_figure(cli, ran, images, tmp_path):
    study = tiny_study(images, pruning=())
    file = tmp_path / "half.toml"
    file.write_text(format_study(study), "utf-8")
    code, out, _ = cli("study", file, "--results", tmp_path, "--dumps", ran.dumps)
    assert code == 0 and "figure" not in out and "results:" in out


def test_study_refuses(cli, study_file):
    refused(cli("study", "nosuch"), "nosuch", "demo")
    text = study_file.read_text("utf-8")
    study_file.write_text(text.replace("chunk = 12", "chunks = 12"), "utf-8")
    refused(cli("study", study_file), "solve.chunks", "line 9", "chunk, bits")
    study_file.write_text(text.replace('names = ["head"]', 'names = ["heed"]'), "utf-8")
    refused(cli("study", study_file, "--results", study_file.parent / "r"), "heed", "head")


def test_workers_are_checked(cli, study_file):
    refused(cli("study", study_file, "--workers", 0), "solve.workers", "1 or more")


def test_figure_refuses(cli, ran, tmp_path):
    refused(cli("figure", tmp_path), "no results", "layerbounds study")
    refused(cli("figure", ran.results / "tiny", "--width", "poster"), "column, text")


def test_solve_a_pattern(cli, head):
    arguments = ("solve", head, "--problem", "pruning", "--size", 12, "--channel", 0)
    code, out, _ = cli(*arguments, "--pattern", "2:4")
    assert code == 0
    assert "keep 2:4" in out and "1 exact" in out
    assert "…" not in out  # no number is cut to fit
    for pattern, part in (("2-4", "N:M"), ("5:4", "1 <= N <= M")):
        code, _, error = cli(*arguments, "--pattern", pattern)
        assert code == 2 and part in error
