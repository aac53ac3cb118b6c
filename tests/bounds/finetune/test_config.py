"""Fine-tuning studies as files: read back as written, and refused with the line to mend."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bounds.errors import StudyError
from bounds.finetune.config import FinetuneStudy, Quantization, Task
from bounds.finetune.jobs import compressed, originals
from bounds.finetune.toml import bundled_finetunes, format_finetune, load_finetune, parse_finetune
from tests.bounds.finetune.finetune_cases import tiny_finetune


@pytest.mark.parametrize("name", ["finetune", "photographs"])
def test_bundled_studies_are_read(name):
    assert name in bundled_finetunes()
    study = load_finetune(name)
    assert study.name == name
    assert parse_finetune(format_finetune(study)) == study


def test_the_bundled_study_is_the_papers_fight():
    study = load_finetune("finetune")
    assert study.bits == (2, 3, 4, 5, 6, 7, 8) and len(study.seeds) == 3
    assert study.train.epochs == 20 and study.pruning.until == 0.75
    assert study.quantization.rate == 1e-5 and study.quantization.step == "tensor"
    jobs = compressed(study)
    assert {job.method for job in jobs} == {
        *("qat", "gradual", "one-shot", "rtn", "gptq", "magnitude", "obs"),
    }
    assert len(jobs) == 7 * 7 * 3 and len(originals(study)) == 3
    assert len({job.name for job in jobs}) == len(jobs)


def test_values_come_back():
    study = tiny_finetune(task=Task(skip=("head",)), quantization=Quantization(("rtn",), "channel"))
    assert parse_finetune(format_finetune(study)) == study
    assert parse_finetune('name = "x"') == FinetuneStudy("x")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("bits = [2]", "name: missing"),
        ('name = "a/b"', "line 1: name"),
        ('name = "a"\nbits = [1]', "line 2: bits: .*from 2 to 15"),
        ('name = "a"\nbits = [16]', "from 2 to 15"),
        ('name = "a"\nseeds = []', "line 2: seeds"),
        ('name = "a"\nworkers = 0', "workers"),
        ('name = "a"\nlayers = 2', "unknown key layers"),
        ('name = "a"\n[train]\nepoch = 3', "line 3: unknown key train.epoch"),
        ('name = "a"\n[train]\nrate = 0', "line 3: train.rate: .*positive learning rate"),
        ('name = "a"\n[train]\nrate = inf', "positive learning rate"),
        ('name = "a"\n[train]\ndistill = 1.5', "from 0 to 1"),
        ('name = "a"\n[pruning]\nuntil = true', "from 0 to 1"),
        ('name = "a"\n[pruning]\nscope = "channel"', "layer, global"),
        ('name = "a"\n[quantization]\nmethods = ["gpt"]', "out of .*gptq"),
        ('name = "a"\n[pretrain]\noptimizer = "lion"', "sgd, adam"),
        ("name = ", "not TOML"),
    ],
)
def test_impossible_files(text, words):
    with pytest.raises(StudyError, match=words):
        parse_finetune(text, "mine.toml")


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(StudyError, match="bundled ones: finetune, photographs"):
        load_finetune("finetun")
    (tmp_path / "x.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(StudyError, match="UTF-8"):
        load_finetune(tmp_path / "x.toml")


def test_the_same_in_python():
    with pytest.raises(StudyError, match="from 2 to 15"):
        replace(tiny_finetune(), bits=(1, 2))
