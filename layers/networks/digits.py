"""A small residual network for scikit-learn's handwritten digits, 8 x 8 pixels.

It comes untrained: ``layerbounds finetune`` trains it within seconds.
"""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from layers.images.preprocessing import Preprocessing

SIDE = 8
#: Pixels are counts of ink from 0 to 16; as an image, each count is so many grey levels.
INK, GREYS = 16, 15


class Block(nn.Module):
    """Two 3x3 convolutions beside a shortcut, each with batch norm (He et al. 2016)."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        """The shortcut is a 1x1 convolution where shapes differ."""
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut = (
            nn.Identity()
            if stride == 1 and inputs == outputs
            else nn.Conv2d(inputs, outputs, 1, stride, bias=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(batch, inputs, h, w) -> (batch, outputs, h / stride, w / stride)."""
        inner = torch.relu(self.norm1(self.conv1(x)))
        return torch.relu(self.norm2(self.conv2(inner)) + self.shortcut(x))


class DigitsNet(nn.Module):
    """Nine layers with 8 to 144 inputs, 9,592 weights: (batch, 1, 8, 8) -> (batch, 10)."""

    def __init__(self) -> None:
        """The usual random weights."""
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.block1 = Block(8, 8)
        self.block2 = Block(8, 16, stride=2)
        self.block3 = Block(16, 16)
        self.head = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Scores of the ten digits."""
        x = torch.relu(self.norm(self.stem(x)))
        x = self.block3(self.block2(self.block1(x)))
        return self.head(x.mean(dim=(2, 3)))


def network() -> tuple[nn.Module, Preprocessing]:
    """The network, always with the same random weights, and how an image becomes its input."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return DigitsNet(), Preprocessing(function=digits_input)


def digits_input(image: Image.Image) -> np.ndarray:
    """An image as (1, 8, 8): ink from 0 to 1; what ``digits_image`` wrote comes back to the bit."""
    grey = image.convert("L")
    if grey.size != (SIDE, SIDE):
        grey = grey.resize((SIDE, SIDE), Image.Resampling.BOX)
    return np.asarray(grey, dtype=np.float32)[None] / np.float32(INK * GREYS)


def digits_image(ink: np.ndarray) -> Image.Image:
    """Counts of ink (8, 8) from 0 to 16 as a grey image."""
    return Image.fromarray((ink * GREYS).astype(np.uint8))
