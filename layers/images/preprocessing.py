"""One photograph -> one network input: resize, crop, normalise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from layers.errors import CalibrationError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

INTERPOLATIONS = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "lanczos": Image.Resampling.LANCZOS,
    "nearest": Image.Resampling.NEAREST,
}


@dataclass(frozen=True)
class Preprocessing:
    """How an image becomes a network input.

    The image is converted to RGB, its shorter side is resized to ``resize`` with PIL (whose
    filters are antialiased when they shrink), the centre ``size`` x ``size`` is cut out, and
    each colour becomes ``(value / 255 - mean) / std``. EXIF rotation is not applied, as in
    torchvision and timm. ``function`` replaces all of it.

    Attributes:
        size: side of the square input, pixels.
        resize: shorter side before the crop, pixels; None is size / 0.875, the usual margin.
        mean: per colour, on the [0, 1] scale.
        std: per colour, on the [0, 1] scale.
        interpolation: one of bicubic, bilinear, lanczos, nearest.
        function: PIL image (RGB) -> array or tensor (3, height, width) or (1, 3, height, width).
    """

    size: int = 224
    resize: int | None = None
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    interpolation: str = "bicubic"
    function: Callable[[Image.Image], Any] | None = None

    def __post_init__(self) -> None:
        """Refuse values that could only fail later, in the middle of a run."""
        if self.size < 1 or (self.resize is not None and self.resize < self.size):
            raise CalibrationError(
                f"preprocessing: size {self.size} and resize {self.resize} must be positive, "
                "and resize at least size"
            )
        if self.interpolation not in INTERPOLATIONS:
            raise CalibrationError(
                f"preprocessing: unknown interpolation {self.interpolation!r}; "
                f"choose from {', '.join(INTERPOLATIONS)}"
            )
        if len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0:
            raise CalibrationError("preprocessing: mean and std need 3 values each, std positive")

    def __call__(self, image: Image.Image) -> np.ndarray:
        """The input of one image: (3, height, width) float32, C-contiguous.

        Raises:
            CalibrationError: a custom function returned something of another shape.
        """
        rgb = image.convert("RGB")
        if self.function is not None:
            return _checked(self.function(rgb), self.function)
        pixels = np.asarray(self._crop(rgb), dtype=np.float32) / np.float32(255)
        scaled = (pixels - np.array(self.mean, np.float32)) / np.array(self.std, np.float32)
        return np.ascontiguousarray(scaled.transpose(2, 0, 1))

    def _crop(self, image: Image.Image) -> Image.Image:
        """Shorter side to ``resize``, then the centre square."""
        shorter = self.resize if self.resize is not None else round(self.size / 0.875)
        factor = shorter / min(image.size)
        width, height = (max(shorter, round(side * factor)) for side in image.size)
        resized = image.resize((width, height), INTERPOLATIONS[self.interpolation])
        left, top = (width - self.size) // 2, (height - self.size) // 2
        return resized.crop((left, top, left + self.size, top + self.size))

    def describe(self) -> str:
        """One line that is equal for equal preprocessing (a function goes by its name)."""
        if self.function is not None:
            return f"function {_function_name(self.function)}"
        resize = self.resize if self.resize is not None else round(self.size / 0.875)
        return (
            f"resize {resize} {self.interpolation}, crop {self.size}, "
            f"mean {list(self.mean)}, std {list(self.std)}"
        )


def _checked(value: Any, function: Callable[..., Any]) -> np.ndarray:
    """What a custom function returned, as (3, height, width) float32."""
    detached = value.detach().cpu() if hasattr(value, "detach") else value
    array = np.asarray(detached, dtype=np.float32)
    if array.ndim == 4 and array.shape[0] == 1:
        array = array[0]
    if array.ndim != 3:
        raise CalibrationError(
            f"preprocessing {_function_name(function)} returned shape {array.shape}; "
            "it must return one image, (channels, height, width)"
        )
    return np.ascontiguousarray(array)


def _function_name(function: Callable[..., Any]) -> str:
    """Module and name of a function or callable object, without its address in memory."""
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}.{named.__qualname__}"
