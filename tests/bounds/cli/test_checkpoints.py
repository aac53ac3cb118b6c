"""``layerbounds judge`` on a small checkpoint."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors.numpy import save_file

from bounds.cli.app import main
from tests.bounds.gap.judged_cases import write_checkpoint, write_dumps
from tests.layers.tiny import network, write_images


@pytest.fixture
def cli(capsys, monkeypatch):
    """Run the command line: (exit code, output, errors)."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")

    def run(*arguments) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        output = capsys.readouterr()
        assert isinstance(stop.value.code, int)
        return stop.value.code, output.out, output.err

    return run


@pytest.fixture(scope="module")
def dumps(tmp_path_factory) -> Path:
    return write_dumps(tmp_path_factory.mktemp("dumps"))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("made") / "model.safetensors")


def test_the_command(cli, checkpoint, dumps, tmp_path):
    record, page = tmp_path / "judged.json", tmp_path / "judged.html"
    code, out, _ = cli(
        "judge", checkpoint, "--dumps", dumps, "--channels", 3, "--json", record, "--html", page
    )
    assert code == 0 and "int4 in groups of 16" in out and "rounded to nearest" in out
    assert "2:4 sparse" in out and "no dump of: model.head" in out and "as the original" in out
    read = json.loads(record.read_text())
    assert read["layers"][0]["loss"] > 0 and read["without_dump"] == ["model.head"]
    assert read["layers"][-1]["loss"] is None
    html = page.read_text()
    assert html.startswith("<!DOCTYPE html>") and "net.one" in html and "rounded to nearest" in html
    assert "<script" not in html
    code, out, _ = cli(
        "judge", checkpoint, "--dumps", dumps, "--channels", 3, "--fail-above", "0.1dB"
    )
    assert code == 1 and "fails: 2 of 3 layers" in out
    ok = ("judge", checkpoint, "--dumps", dumps, "--channels", 3, "--fail-above", "90 dB")
    assert cli(*ok)[0] == 0


def test_the_command_refuses(cli, checkpoint, dumps):
    code, _, errors = cli("judge", checkpoint, "--dumps", dumps, "--fail-above", "two")
    assert code == 2 and "such as 2dB" in errors
    code, _, errors = cli("judge", checkpoint, "--dumps", dumps / "nowhere")
    assert code == 2 and "holds no dumps" in errors


def test_dumps_are_made_of_a_network_that_is_named(cli, tmp_path):
    images = write_images(tmp_path / "images", 4)
    net, _ = network()
    state = {name: t.detach().numpy() for name, t in net.state_dict().items()}
    step = float(abs(state["head.weight"]).max()) / 7
    state["head.weight"] = (step * (state["head.weight"] / step).round()).astype("float32")
    save_file(state, tmp_path / "m.safetensors")
    code, out, _ = cli(
        "judge", tmp_path / "m.safetensors", "--source", "tests.layers.tiny:network", "--images",
        images, "--dumps", tmp_path / "dumps", "--channels", 2,
    )  # fmt: skip
    assert code == 0 and out.count("as the original") == 3 and out.count("rounded to nearest") == 1
    assert len(list((tmp_path / "dumps").glob("*.safetensors"))) == 4
