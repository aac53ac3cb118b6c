"""Whole checkpoints: matched by name, worst first, on the command line and as files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from bounds.errors import ProblemError
from bounds.gap.checkpoints import judge_checkpoint
from tests.bounds.gap.judged_cases import NAMES, network_layer, write_checkpoint, write_dumps


@pytest.fixture(scope="module")
def dumps(tmp_path_factory) -> Path:
    return write_dumps(tmp_path_factory.mktemp("dumps"))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("made") / "model.safetensors")


def test_every_layer_there_is_a_dump_of(checkpoint, dumps):
    told: list[tuple[int, int]] = []
    found = judge_checkpoint(checkpoint, dumps, channels=4, progress=lambda *e: told.append(e))
    assert {one.layer for one in found.layers} == {"net.one", "net.two", "net.three"}
    losses = [one.loss for one in found.layers[:2]]
    assert losses == sorted(losses, reverse=True) and found.layers[-1].kind == "unchanged"
    assert found.without_dump == ["model.head"] and not found.failed
    assert told[0] == (0, 12) and told[-1] == (12, 12)
    assert [one.layer for one in found.above(0.0)] == [one.layer for one in found.layers[:2]]
    assert found.above(99.0) == []
    assert [o.layer for o in judge_checkpoint(checkpoint, dumps, names="*.two").layers] == [
        "net.two"
    ]


def test_against_an_original_of_its_own(checkpoint, dumps, tmp_path):
    """The same network in half precision: errors are against that."""
    weights = {name: network_layer(name).weights for name in NAMES[:2]}
    halves = {f"{name}.weight": w.astype(np.float16) for name, w in weights.items()}
    save_file(halves, tmp_path / "half.safetensors")
    found = judge_checkpoint(checkpoint, dumps, against=tmp_path / "half.safetensors", channels=2)
    assert {one.layer for one in found.layers} == {"net.one", "net.two"}
    assert "net.three" in found.failed and "has no layer net.three" in found.failed["net.three"]
    plain = judge_checkpoint(checkpoint, dumps, channels=2)
    for one in found.layers:
        other = next(o for o in plain.layers if o.layer == one.layer)
        assert one.error == pytest.approx(other.error, rel=1e-2) and one.error != other.error


def test_what_cannot_be_matched(checkpoint, dumps, tmp_path):
    save_file({"other.weight": np.ones((2, 2), np.float32)}, tmp_path / "m.safetensors")
    with pytest.raises(ProblemError, match=r"no dump is of a layer of .*; it has other"):
        judge_checkpoint(tmp_path / "m.safetensors", dumps)
    (tmp_path / "none").mkdir()
    with pytest.raises(ProblemError, match="holds no dumps; make them"):
        judge_checkpoint(checkpoint, tmp_path / "none")
