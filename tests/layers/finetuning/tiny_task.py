"""A task of two strokes and a network with batch norm and dropout, trained within milliseconds."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor, nn

from layers.finetuning.compression import Prune, Quantize
from layers.finetuning.examples import Examples, Held
from layers.finetuning.training import Moment, Training, train
from layers.images.preprocessing import Preprocessing

CLASSES = 3


class Tiny(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.depthwise = nn.Conv2d(4, 4, 3, stride=2, padding=1, groups=4)
        self.drop = nn.Dropout(0.2)
        self.head = nn.Linear(4 * 9, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.conv(x)))
        x = torch.relu(self.depthwise(x))
        return self.head(self.drop(x.flatten(1)))


def network() -> tuple[nn.Module, Preprocessing]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        return Tiny(), Preprocessing(size=6, resize=6)


def tensors(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Noise (count, 1, 6, 6) with a stroke in the row that is its class."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % CLASSES
    x = 0.3 * torch.randn((count, 1, 6, 6), generator=generator)
    x[torch.arange(count), 0, 2 * labels] += 1.0
    return x, labels


def data() -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    return tensors(48, 1), tensors(24, 2)


def examples() -> Examples:
    train_part, test_part = data()
    return Examples("strokes", Held(*train_part), Held(*test_part))


def slow_run(folder: Path, kind: str) -> None:
    """Train with a checkpoint after every step, slowly enough to be killed; says each step."""
    import time

    def progress(moment: Moment) -> None:
        print(moment.step, flush=True)  # noqa: T201
        time.sleep(0.05)

    compression = {"quantize": Quantize(3, rate=1e-3), "prune": Prune(0.75, updates=6)}[kind]
    train(
        network()[0], examples(), Training(epochs=4, batch=8, seed=3), compression=compression,
        folder=folder, every=0.0, progress=progress,
    )  # fmt: skip


if __name__ == "__main__":
    slow_run(Path(sys.argv[1]), sys.argv[2])
