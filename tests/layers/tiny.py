"""Tiny seeded networks and images for tests; ``tests.layers.tiny:network`` is a source."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from layers.images.calibration import Calibration, load_calibration
from layers.images.preprocessing import Preprocessing


class TinyNet(nn.Module):
    """3x32x32 -> 3x3 stride 2, depthwise 3x3, pointwise, then a Linear on 16 tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.depthwise = nn.Conv2d(8, 8, 3, padding="same", groups=8, bias=False)
        self.pointwise = nn.Conv2d(8, 40, 1)
        self.pool = nn.AvgPool2d(4)
        self.head = nn.Linear(40, 12)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.stem(x))
        x = torch.relu(self.depthwise(x))
        x = self.pool(torch.relu(self.pointwise(x)))
        return self.head(x.flatten(2).transpose(1, 2))


def network() -> tuple[nn.Module, Preprocessing]:
    """The tiny network with fixed random weights, and 32-pixel preprocessing."""
    generator = torch.Generator().manual_seed(2307)
    net = TinyNet()
    with torch.no_grad():
        for parameter in net.parameters():
            scale = parameter[0].numel() ** -0.5 if parameter.dim() > 1 else 0.1
            parameter.copy_(scale * torch.randn(parameter.shape, generator=generator))
    return net, Preprocessing(size=32, resize=36)


class Attention(nn.Module):
    """A convolution, attention, a Linear that nobody calls, and one that sees NaN."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 8, stride=8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.unused = nn.Linear(8, 8)
        self.broken = nn.Linear(8, 4)
        self.blocks = nn.ModuleList([nn.Linear(8, 8), nn.Linear(8, 8)])

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.stem(x).flatten(2).transpose(1, 2)
        tokens = self.attention(tokens, tokens, tokens)[0]
        for block in self.blocks:
            tokens = block(tokens)
        return self.broken(tokens * torch.nan)


def attention() -> tuple[nn.Module, Preprocessing]:
    """A network two of whose layers cannot be captured."""
    with torch.random.fork_rng():
        torch.manual_seed(8)
        return Attention(), Preprocessing(size=32, resize=36)


def write_images(folder: Path, count: int = 6, seed: int = 0) -> Path:
    """Smooth random photographs 48 x 40, ``image_00.png`` and on."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for i in range(count):
        coarse = rng.integers(0, 256, (10, 12, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((48, 40)).save(folder / f"image_{i:02d}.png")
    return folder


def small_calibration(folder: Path, count: int = 3) -> Calibration:
    """``count`` images, one held out."""
    return load_calibration(write_images(folder, count), heldout_count=1)
