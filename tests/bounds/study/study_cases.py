"""Small studies and networks that the tests of study, tables, figures and CLI share."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bounds.results.row import Row
from bounds.study import Calibration, LayerChoice, Solve, Study
from bounds.study.plan.tasks import Task
from layers.images.preprocessing import Preprocessing
from tests.layers import tiny

TINY = "tests.layers.tiny:network"
LOUD = "tests.bounds.study.study_cases:loud_network"
NESTED = "tests.bounds.study.study_cases:nested_network"
#: Rows that a rerun must repeat; seconds are those of the machine.
TIMELESS = ("seconds",)


def loud_network() -> tuple[nn.Module, Preprocessing]:
    """The tiny network with a weight in its head that does not fit FP16."""
    net, preprocessing = tiny.network()
    with torch.no_grad():
        dict(net.named_parameters())["head.weight"][0, 0] = 1e5
    return net, preprocessing


def nested_network() -> tuple[nn.Module, Preprocessing]:
    """The tiny network inside another, so that ``head`` and ``body.head`` mean one layer."""
    net, preprocessing = tiny.network()
    outer = nn.Sequential()
    outer.add_module("body", net)
    return outer, preprocessing


def tiny_study(images: Path, **solve: Any) -> Study:
    """Two layers of the tiny network, 12-wide chunks, 2 and 4 bits, cheap methods and exact."""
    settings = {
        "chunk": 12,
        "bits": (2, 4),
        "quantization": ("gptq", "sdp", "exact"),
        "pruning": ("magnitude-ls", "perspective", "exact"),
        "workers": 2,
    }
    return Study(
        name="tiny",
        layers=(
            LayerChoice(TINY, ("pointwise",), max_channels=5),
            LayerChoice(TINY, ("head",), max_chunks=2, select="first"),
        ),
        calibration=Calibration(images=str(images), heldout=2),
        solve=Solve(**(settings | solve)),
    )


def loud_study(images: Path) -> Study:
    """``tiny_study`` with the head of the loud network: its tasks fail, the others do not."""
    study = tiny_study(images)
    quiet, head = study.layers
    return replace(study, layers=(quiet, replace(head, source=LOUD)))


def timeless(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Rows without the columns that differ from run to run."""
    return [{k: v for k, v in vars(row).items() if k not in TIMELESS} for row in rows]


def deadly(task: Task) -> bool:
    """The one task that tests of dying workers let die."""
    return (task.layer.name, task.chunk, task.method) == ("head", 0, "sdp")
