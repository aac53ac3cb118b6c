"""``layerbounds finetune`` and its figures, as a user meets them."""

from __future__ import annotations

import io
import shutil

import pytest
from rich.console import Console

from bounds.cli import main
from bounds.cli.finetuning import TrainingObserver
from bounds.finetune.jobs import Job
from bounds.finetune.toml import format_finetune
from bounds.present.figures import FINETUNE_KINDS
from tests.bounds.finetune.finetune_cases import tiny_finetune


@pytest.fixture
def cli(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "140")
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")

    def run(*arguments):
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        output = capsys.readouterr()
        return stop.value.code, output.out, output.err

    return run


def test_a_study_from_a_file(cli, tuned, tmp_path):
    file = tmp_path / "tiny.toml"
    file.write_text(format_finetune(tuned.study), "utf-8")
    shutil.copytree(tuned.results, tmp_path / "results")
    code, out, errors = cli("finetune", file, "--results", tmp_path / "results", "--workers", 1)
    assert code == 0, errors
    assert "0 runs new, 30 found finished, 0 failed" in out
    assert "gradual" in out and "original network" in out
    for kind in FINETUNE_KINDS:
        assert (tmp_path / "results" / "tiny" / f"{kind}.png").is_file()
    code, out, _ = cli(
        "figure", tmp_path / "results" / "tiny", "--kind", "accuracy", "--width", "column"
    )
    assert code == 0 and out.splitlines()[-1].endswith("accuracy.csv")


def test_failures_end_with_one(cli, tuned, tmp_path):
    shutil.copytree(tuned.results, tmp_path / "results")
    file = tmp_path / "tiny.toml"
    text = format_finetune(tuned.study).replace("rate = 0.01\n", "rate = 1e30\n")
    file.write_text(text, "utf-8")
    code, out, _ = cli("finetune", file, "--results", tmp_path / "results")
    assert code == 1 and "failed: gradual-2-seed1: FinetuneError: the loss is" in out
    assert "no figure representation" in out and "accuracy.png" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("finetune", "nothing"), "finetune, photographs"),
        (("finetune", "{tmp}/bad.toml"), "line 2"),
        (("figure", "{tmp}", "--kind", "accuracy"), "layerbounds finetune"),
        (("figure", "{tmp}", "--kind", "acuracy"), "representation"),
        (("finetune", "{tmp}/good.toml", "--device", "abacus"), "unknown device"),
    ],
)
def test_refused(cli, tmp_path, arguments, words):
    (tmp_path / "bad.toml").write_text('name = "x"\nbits = [1]\n', "utf-8")
    (tmp_path / "good.toml").write_text(format_finetune(tiny_finetune()), "utf-8")
    given = [a.format(tmp=tmp_path) for a in arguments]
    if given[0] == "finetune":
        given += ["--results", str(tmp_path / "out")]
    code, _, errors = cli(*given)
    assert code == 2 and errors.startswith("error: ") and errors.count("\n") == 1
    assert words in errors and "Traceback" not in errors


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_says_loss_accuracy_and_time_left(terminal):
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=140)
    with TrainingObserver(console) as observer:
        observer.begin(2, 12)
        observer.moving("qat-2-seed1", epoch=3, epochs=5, loss=0.1234, accuracy=0.875)
        observer.finished(Job("quantization", "qat", 2, 1, 5), True, "")
        observer.moving("qat-3-seed1", epoch=1, epochs=5, loss=0.5, accuracy=0.75)
        if observer.log:
            assert "1 of 2 runs finished" in observer.log.line()
            assert "left; qat-3-seed1, epoch 1 of 5: loss 0.5000, accuracy 75.0%" in (
                observer.log.line()
            )
        else:
            assert observer.bars is not None
            observer.bars.refresh()
        observer.finished(Job("quantization", "qat", 3, 1, 5), True, "it broke")
    assert "failed: qat-3-seed1: it broke" in out.getvalue()
    if terminal:
        assert "loss 0.5000, accuracy 75.0%" in out.getvalue() and "6/12" in out.getvalue()
