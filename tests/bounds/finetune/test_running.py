"""Fine-tuning studies run: whole, again, changed, killed, and with runs that fail."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bounds.errors import StudyError
from bounds.finetune.config import Judge, Task, Train
from bounds.finetune.jobs import compressed, originals
from bounds.finetune.running import FinetuneObserver, run_finetune
from bounds.results.finetuned import LAYERS, NETWORKS, read_finetuned
from layers.errors import FinetuneError, SourceError
from layers.extract import extract
from layers.networks.finetuned import read_trained, read_weights
from layers.networks.open import open_source
from layers.networks.torch_module import TorchSource
from tests.bounds.finetune.finetune_cases import TASK, timeless, tiny_finetune
from tests.layers.tiny import write_images

ROOT = Path(__file__).parents[3]


class Counting(FinetuneObserver):
    def __init__(self):
        self.new, self.moves, self.begun = [], [], (0, 0)

    def begin(self, runs, epochs):
        self.begun = (runs, epochs)

    def moving(self, name, **what):
        self.moves.append((name, what))

    def finished(self, job, new, error):
        if new:
            self.new.append(job.name)


def test_every_network_has_its_rows(tuned):
    networks, layers = (read_finetuned(tuned.report.folder, n) for n in (NETWORKS, LAYERS))
    jobs = originals(tuned.study) + compressed(tuned.study)
    assert [row["run"] for row in networks] == [job.name for job in jobs]
    assert tuned.report.runs == tuned.report.new == 30 and not tuned.report.failures
    assert len(layers) == 28 * 3
    names = {row["layer"]: row["features"] for row in layers}
    assert names == {"conv": 9, "depthwise": 9, "head": 36}
    for row in networks:
        assert row["tests"] == 24 and round(row["accuracy"] * 24, 9) % 1 == 0
        assert row["weights"] == 36 + 36 + 108
        if row["method"] in ("gradual", "one-shot"):
            assert row["kept"] == sum(round(n * row["bits"] / 16) for n in (36, 36, 108))
    for row in layers:
        assert row["snr"] == pytest.approx(10 * math.log10(row["energy"] / row["error"]))
        judged = row["bits"] == 2 and row["seed"] == 1
        judged = judged and row["method"] in ("qat", "gradual", "gptq", "obs")
        assert (row["lower"] is not None) == judged
        if judged:
            assert 0 <= row["lower"] <= row["error"] * (1 + 1e-6)
            assert row["exact"] + row["certified"] <= row["channels"]


def test_training_starts_from_where_it_is_said_to(tuned):
    """rtn is learned steps without training, one-shot is gradual pruning without."""
    runs = tuned.report.folder / "runs"
    rtn = read_weights(read_trained(runs / "rtn-2-seed1"))
    original = read_weights(read_trained(runs / "original-seed1"))
    for name in ("conv", "depthwise", "head"):
        from layers.finetuning.lsq import LearnedStep

        start = LearnedStep(original[f"{name}.weight"], 2)(original[f"{name}.weight"]).detach()
        torch.testing.assert_close(start, rtn[f"{name}.weight"], rtol=1e-6, atol=0)
        shot = read_weights(read_trained(runs / "one-shot-2-seed1"))[f"{name}.weight"]
        assert ((shot == 0) | (shot == original[f"{name}.weight"])).all()


def test_a_second_run_finds_everything(tuned, tmp_path):
    results = tmp_path / "results"
    shutil.copytree(tuned.results, results)
    observer = Counting()
    report = run_finetune(tuned.study, results=results, observer=observer)
    assert (report.runs, report.new, observer.new) == (30, 0, [])
    assert observer.begun == (30, 2 * 7 + 8 * 3 + 20)
    assert timeless(report.folder) == timeless(tuned.report.folder)


def test_what_is_changed_is_done_again_and_no_more(tuned, tmp_path):
    results = tmp_path / "results"
    shutil.copytree(tuned.results, results)
    observer = Counting()
    study = replace(tuned.study, train=replace(tuned.study.train, rate=0.02))
    run_finetune(study, results=results, observer=observer)
    assert {name.split("-")[0] for name in observer.new} == {"qat", "gradual"}
    (results / "tiny" / "runs" / "gptq-2-seed1" / "weights.safetensors").unlink()
    (results / "tiny" / "dumps" / "original-seed2--head.safetensors").write_bytes(b"")
    observer = Counting()
    report = run_finetune(study, results=results, observer=observer)
    assert observer.new in ([], ["gptq-2-seed1"]) and not report.failures
    assert (results / "tiny" / "runs" / "gptq-2-seed1" / "weights.safetensors").is_file()


def test_killed_in_the_middle_and_run_again(tuned, tmp_path):
    """kill -9, workers in processes of their own; then the tables of a run left alone."""
    command = [sys.executable, "-m", "tests.bounds.finetune.finetune_cases", str(tmp_path)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=dict(os.environ)
    ) as process:
        assert process.stdout is not None
        for number, _ in enumerate(process.stdout):
            if number == 4:
                process.send_signal(signal.SIGKILL)
                break
        assert process.wait(timeout=120) == -signal.SIGKILL
    observer = Counting()
    report = run_finetune(tuned.study, results=tmp_path, observer=observer)
    assert len(observer.new) <= 30 - 4
    assert timeless(report.folder) == timeless(tuned.report.folder)


def test_a_run_that_fails_is_named_and_the_others_go_on(tuned, tmp_path):
    results = tmp_path / "results"
    shutil.copytree(tuned.results, results)
    study = replace(tuned.study, train=Train(epochs=2, batch=8, rate=1e30))
    report = run_finetune(study, results=results)
    failed = dict(report.failures)
    assert {name.split("-")[0] for name in failed} <= {"qat", "gradual"} and failed
    assert all("train.rate" in error for error in failed.values())
    told = json.loads((report.folder / "failures.json").read_text("utf-8"))
    assert {entry["run"] for entry in told} == set(failed)
    assert len(read_finetuned(report.folder, NETWORKS)) == 30 - len(failed)
    report = run_finetune(tuned.study, results=results)
    assert not report.failures and not (report.folder / "failures.json").exists()
    assert timeless(report.folder) == timeless(tuned.report.folder)


def test_a_run_is_a_network_whose_layers_can_be_extracted(tuned, tmp_path):
    run = tuned.report.folder / "runs" / "qat-2-seed1"
    source = open_source(f"finetuned:{run}")
    assert isinstance(source, TorchSource)
    assert [layer.name for layer in source.layers()] == ["conv", "depthwise", "head"]
    weights = read_weights(read_trained(run))
    assert torch.equal(source.module.get_parameter("head.weight"), weights["head.weight"])
    images = write_images(tmp_path / "images", 3)
    with pytest.raises(Exception, match="channel"):  # photographs, and it wants one channel
        extract(source, ["conv"], images, tmp_path, heldout_count=1)


def test_what_cannot_be_trained_is_refused_at_once(tmp_path):
    def study(**task):
        return tiny_finetune(task=replace(Task(f"{TASK}:network", f"{TASK}:data"), **task))

    with pytest.raises(FinetuneError, match="must return a pair"):
        run_finetune(study(data=f"{TASK}:examples"), results=tmp_path)
    with pytest.raises(SourceError, match="is no torch module"):
        run_finetune(study(network="vit-s14"), results=tmp_path)
    with pytest.raises(FinetuneError, match=r"does not take inputs of shape \(1, 8, 8\)"):
        run_finetune(study(data="digits"), results=tmp_path)
    with pytest.raises(FinetuneError, match="no layer 'hat' to skip"):
        run_finetune(study(skip=("hat",)), results=tmp_path)
    with pytest.raises(StudyError, match=r"judge.pruning: obs proves no bound"):
        run_finetune(tiny_finetune(judge=Judge((2,), pruning="obs")), results=tmp_path)
    with pytest.raises(FinetuneError, match="unknown device 'abacus'"):
        run_finetune(tiny_finetune(device="abacus"), results=tmp_path)


def test_tables_that_are_none(tuned, tmp_path):
    with pytest.raises(StudyError, match="run `layerbounds finetune` first"):
        read_finetuned(tmp_path, NETWORKS)
    (tmp_path / NETWORKS).write_bytes(b"PAR1")
    with pytest.raises(StudyError, match="cannot be read"):
        read_finetuned(tmp_path, NETWORKS)
    shutil.copy(tuned.report.folder / LAYERS, tmp_path / NETWORKS)
    with pytest.raises(StudyError, match="not a table of fine-tuning"):
        read_finetuned(tmp_path, NETWORKS)
