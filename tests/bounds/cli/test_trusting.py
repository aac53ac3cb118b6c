"""Certificates, their verification and the fuzz, from the command line."""

from __future__ import annotations

import re
import sys
from dataclasses import replace

import numpy as np
import pytest

from bounds.problem.range import Range
from bounds.results.ranges import load_rows
from bounds.study import format_study
from layers.dump.file import dump_path
from tests.bounds.certificate.certificate_cases import forged, parsed
from tests.bounds.cli import test_cli
from tests.bounds.study.study_cases import TINY, timeless, tiny_study
from tests.references.certificate_checker import check

cli = test_cli.cli  # the same fixture
refused = test_cli.refused


@pytest.fixture
def head(ran):
    return dump_path(ran.dumps, TINY, "head")


@pytest.mark.parametrize(
    ("arguments", "task", "statuses"),
    [
        (("--bits", 3), {"bits": 3}, {"exact"}),
        (("--bits", 3, "--scale", "minmax-channel", "--method", "sdp"), {"bits": 3}, {"certified"}),
        (("--bits", 2, "--rounding", "none", "--method", "rtn"), {"bits": 2}, {"heuristic"}),
        (("--grid", "int3-g8-asym"), {"rounding": "fp16"}, {"exact"}),
        (("--grid", "nf4-g16", "--method", "sdp"), {"rounding": "fp16"}, {"certified"}),
        (("--problem", "pruning", "--keep", 4), {"keep": 4}, {"exact"}),
        (("--problem", "pruning", "--bits", 4, "--channel", 7), {"keep": 3}, {"exact"}),
    ],
)
def test_solve_writes_what_verify_confirms(cli, head, tmp_path, arguments, task, statuses):
    file = tmp_path / "new" / "c.jsonl"
    solve = ("solve", head, "--chunk", "all", "--size", 12, *arguments, "--certificate", file)
    code, out, _ = cli(*solve)
    assert code == 0 and f"certificate: {file}" in out
    lines = parsed(file.read_bytes())
    chunks = [line for line in lines if line["is"] == "chunk"]
    assert len(chunks) == 4 and all(task.items() <= chunk.items() for chunk in chunks[:3])
    channels = [line for line in lines if line["is"] == "channel"]
    assert {line["status"] for line in channels} == statuses
    assert [line["channel"] for line in channels] == (
        [7] * 4 if "--channel" in arguments else [*range(12)] * 4
    )
    code, out, _ = cli("verify", file, "--dump", head)
    assert code == 0 and out.endswith("\nverified\n")
    assert len(out.splitlines()) == 5
    assert check(file.read_bytes(), head.read_bytes()) == len(channels)


def test_a_note_says_what_is_claimed_only_in_part(cli, head, tmp_path, monkeypatch):
    monkeypatch.setattr("bounds.certificate.pruned.LEAVES", 0)
    file = tmp_path / "c.jsonl"
    solve = ("solve", head, "--problem", "pruning", "--keep", 4, "--size", 12)
    code, out, _ = cli(*solve, "--certificate", file)
    assert code == 0 and "note: chunk 0: 12 of 12 channels claim less" in out.replace("\n", " ")
    assert cli("verify", file, "--dump", head)[0] == 0


def test_verify_names_the_first_false_statement(cli, head, ran, tmp_path):
    file = tmp_path / "c.jsonl"
    cli("solve", head, "--bits", 3, "--size", 12, "--certificate", file)
    data = file.read_bytes()
    lines = parsed(data)
    lines[4]["lower"] = lines[4]["upper"] * 0.999
    lines[4]["status"] = "certified"
    lines[4]["proof"] = {"is": "none"}
    file.write_bytes(forged(lines))
    code, out, _ = cli("verify", file, "--dump", head)
    assert code == 1 and out.startswith("not verified: line 5 (channel 2): a positive lower value")
    file.write_bytes(data[:-40])
    assert cli("verify", file, "--dump", head)[0] == 1
    file.write_bytes(data)
    code, out, _ = cli("verify", file, "--dump", dump_path(ran.dumps, TINY, "pointwise"))
    assert code == 1 and "belongs to another dump" in out
    code, out, _ = cli("verify", file, "--dump", head, "--nodes", 1)
    assert code == 1 and "--nodes" in out
    assert cli("verify", file, "--dump", head, "--nodes", 0)[0] == 2
    code, out, _ = cli("verify", tmp_path / "none", "--dump", head)
    assert code == 1 and out.startswith("not verified: ") and "none" in out


def test_certificates_need_flint(cli, head, tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "bounds.verify", raising=False)
    monkeypatch.delattr("bounds.verify", raising=False)
    monkeypatch.setitem(sys.modules, "flint", None)
    file = tmp_path / "c.jsonl"
    refused(cli("solve", head, "--bits", 3, "--certificate", file), "python-flint", "extra verify")
    refused(cli("verify", file, "--dump", head), "python-flint", "extra verify")
    assert not file.exists()


def test_an_unwritable_certificate_is_one_sentence(cli, head, tmp_path):
    (tmp_path / "file").write_text("in the way")
    at = tmp_path / "file" / "c.jsonl"
    refused(cli("solve", head, "--bits", 3, "--size", 12, "--certificate", at), "cannot write")


def test_fuzz_says_what_it_did(cli):
    code, out, errors = cli(
        "fuzz", "--count", 6, "--seed", 5, "--method", "rtn", "--method", "swap"
    )
    assert (code, errors) == (0, "") and out.endswith("nothing broken\n")
    assert re.match(r"6 instances, \d+ problems, \d+ runs, ", out)
    assert "\nrtn: " in out and "\nswap: " in out
    _, again, _ = cli("fuzz", "--count", 2, "--seed", 5, "--first", 4, "--method", "rtn")
    assert re.match(r"2 instances, \d+ problems, 2 runs, ", again)


def test_fuzz_fails_when_a_bound_is_broken(cli, monkeypatch):
    from bounds.fuzz import run

    honest = run.solve

    def boastful(instance, method, **options) -> Range:
        found = honest(instance, method, **options)
        object.__setattr__(found, "lower", found.upper.copy())
        object.__setattr__(found, "status", np.where(found.upper > 0, "certified", "exact"))
        return found

    monkeypatch.setattr(run, "solve", boastful)
    attack = ("fuzz", "--count", 40, "--seed", 5, "--problem", "pruning")
    code, out, _ = cli(*attack, "--method", "magnitude")
    assert code == 1 and "lower > optimum" in out and "seed 5 index" in out
    assert out.splitlines()[-1].endswith("statements broken")


def test_an_interrupted_fuzz_says_how_far_it_came(cli, monkeypatch):
    from bounds.fuzz import run

    def stop(count, seed, methods, problem, report, first):
        report(honest(4, seed, methods, problem))
        raise KeyboardInterrupt

    honest = run.fuzz
    monkeypatch.setattr(run, "fuzz", stop)
    code, out, errors = cli("fuzz", "--count", 1000, "--method", "rtn")
    assert code == 130 and "interrupted" in errors
    assert out.startswith("4 instances, ") and out.endswith("nothing broken\n")


def test_fuzz_refuses(cli):
    refused(cli("fuzz", "--method", "best"), "best")
    refused(cli("fuzz", "--problem", "ranking"), "ranking", "quantization, pruning, both")
    assert cli("fuzz", "--count", 0)[0] == 2


def test_study_writes_certificates_that_verify(cli, ran, tmp_path, images):
    study = tiny_study(images, certificates=True, keep="interpolate")
    study = replace(study, layers=study.layers[1:])
    file = tmp_path / "tiny.toml"
    file.write_text(format_study(study), "utf-8")
    at = ("--results", tmp_path / "results", "--dumps", ran.dumps)
    code, out, _ = cli("study", file, *at)
    assert code == 0 and "12 tasks solved" in out
    folder = tmp_path / "results" / "tiny"
    certificates = sorted((folder / "certificates").iterdir())
    rows = load_rows(folder)
    assert [path.stem for path in certificates] == sorted(row.key for row in rows)
    head = dump_path(ran.dumps, TINY, "head")
    for row in rows:
        path = folder / "certificates" / f"{row.key}.jsonl"
        assert cli("verify", path, "--dump", head)[0] == 0
        channels = [line for line in parsed(path.read_bytes()) if line["is"] == "channel"]
        exact = sum(line["status"] == "exact" for line in channels)
        parts = len(channels) // row.channels
        assert exact == parts * row.exact, row.method
        if parts == 1:
            upper = sum(line["upper"] for line in channels)
            assert upper == pytest.approx(row.upper, rel=1e-12)

    # What is lost or damaged is made again, what is whole is not; results stay the same.
    before = {path: path.stat().st_mtime_ns for path in certificates}
    certificates[0].unlink()
    certificates[3].write_bytes(certificates[3].read_bytes()[:-9])
    code, out, _ = cli("study", file, *at)
    assert code == 0 and "failed" in out
    now = {path: path.stat().st_mtime_ns for path in certificates}
    assert {path for path in before if now[path] != before[path]} == {
        certificates[0],
        certificates[3],
    }
    assert timeless(load_rows(folder)) == timeless(rows)
    # Without the option nothing is redone.
    file.write_text(format_study(replace(study, solve=replace(study.solve, certificates=False))))
    assert "0 tasks solved, 12 found finished" in cli("study", file, *at)[1]


def test_certificates_on_a_cluster_are_refused(cli, images, tmp_path):
    file = tmp_path / "tiny.toml"
    file.write_text(format_study(tiny_study(images, certificates=True)), "utf-8")
    at = ("--results", tmp_path / "results", "--scheduler", "tcp://127.0.0.1:9")
    refused(cli("study", file, *at), "solve.certificates", "--scheduler")
    assert not (tmp_path / "results").exists()
