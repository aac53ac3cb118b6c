"""Runs of fine-tuning as networks."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn

from layers.dump.file import read_dump
from layers.errors import SourceError
from layers.extract import extract
from layers.finetuning.dumping import dump_examples
from layers.networks.finetuned import RECORD, WEIGHTS, Trained, read_trained, write_trained
from layers.networks.open import open_source, source_names
from layers.networks.torch_module import TorchSource
from tests.layers.finetuning.tiny_task import examples
from tests.layers.tiny import network, write_images

SOURCE = "tests.layers.tiny:network"


@pytest.fixture
def run(tmp_path):
    """A run whose weights are twice those of its network."""
    net = network()[0]
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(2)
    folder = tmp_path / "qat-4-seed1"
    trained = Trained(SOURCE, {"network": "x"}, 0.25, 0.75, [[1.0, 0.5]], {"stem": [0.1]})
    return write_trained(folder, net, trained), net


def test_a_run_is_a_source_whose_layers_can_be_extracted(run, tmp_path):
    trained, net = run
    name = f"finetuned:{trained.folder}"
    images = write_images(tmp_path / "images", 4)
    paths = extract(name, ["stem", "head"], images, tmp_path / "dumps", heldout_count=1)
    dump = read_dump(paths[0])
    assert dump.source == name
    weights = net.get_parameter("stem.weight").detach().numpy()
    np.testing.assert_array_equal(dump.weights, weights.reshape(8, 27))
    assert "finetuned:RUN" in source_names()


def test_the_record_comes_back(run):
    trained, _ = run
    assert read_trained(trained.folder) == trained
    assert trained.accuracy == 0.75 and trained.steps == {"stem": [0.1]}


def test_what_is_no_run(run, tmp_path):
    trained, _ = run
    with pytest.raises(SourceError, match="no finished run in"):
        open_source(f"finetuned:{tmp_path}")
    record = trained.folder / RECORD
    text = record.read_text("utf-8")
    for broken in (
        "{",
        "[]",
        json.dumps({"format": 1}),
        text.replace('"format": 1', '"format": 9'),
    ):
        record.write_text(broken, "utf-8")
        with pytest.raises(SourceError, match="no record of a run of this version"):
            read_trained(trained.folder)
    record.write_text(text.replace(SOURCE, "tests.layers.tiny:attention"), "utf-8")
    with pytest.raises(SourceError, match="does not fit Attention"):
        open_source(f"finetuned:{trained.folder}")
    record.write_text(text, "utf-8")
    (trained.folder / WEIGHTS).write_bytes((trained.folder / WEIGHTS).read_bytes() + b"x")
    with pytest.raises(SourceError, match="altered after its run"):
        open_source(f"finetuned:{trained.folder}")
    (trained.folder / WEIGHTS).unlink()
    with pytest.raises(SourceError, match="cannot be read"):
        open_source(f"finetuned:{trained.folder}")


def test_dumps_from_examples(tmp_path):
    from tests.layers.finetuning.tiny_task import network as tiny

    net, preprocessing = tiny()
    source = TorchSource("strokes", preprocessing, "ours", net.eval())
    paths = dump_examples(source, ["conv", "head"], examples(), tmp_path, 10, 4)
    dump = read_dump(paths["conv"])
    assert (dump.rows, dump.heldout_rows) == (360, 144) and dump.block_width is None
    x = torch.stack([examples().train.inputs([int((i + 0.5) * 4.8)])[0] for i in range(10)])
    rows = nn.functional.unfold(x, 3, padding=1).transpose(1, 2).reshape(-1, 9).double().numpy()
    np.testing.assert_allclose(dump.gram_blocks[0][0], rows.T @ rows, rtol=1e-12)
    assert dump.images[0][0] == "calibration 2" and len(dump.heldout_images) == 4
