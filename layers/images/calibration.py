"""Which photographs calibrate a network, and which are held out."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from layers.errors import CalibrationError
from layers.packages import DEMO_PACKAGES, package_folder

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
BUNDLED = "bundled"


@dataclass(frozen=True)
class CalibrationImage:
    """An image file and the sha256 of its bytes."""

    name: str
    path: Path
    sha256: str

    def open(self) -> Image.Image:
        """The decoded image, RGB.

        Raises:
            CalibrationError: the file vanished or is not a readable image.
        """
        try:
            with Image.open(self.path) as image:
                return image.convert("RGB")
        # PIL raises SyntaxError and ValueError too, for broken PNG and BMP files.
        except (OSError, UnidentifiedImageError, SyntaxError, ValueError) as error:
            raise CalibrationError(
                f"cannot read the image {self.path}: {error}; repair or remove it"
            ) from error


@dataclass(frozen=True)
class Calibration:
    """The two parts of the images; no content is in both.

    Attributes:
        images: those whose activations make the calibration Gram.
        heldout: those whose activations only judge the result.
        origin: where they came from, ``bundled`` or the folder.
    """

    images: tuple[CalibrationImage, ...]
    heldout: tuple[CalibrationImage, ...]
    origin: str


def load_calibration(
    images: str | Path = BUNDLED,
    *,
    heldout_fraction: float = 0.3,
    heldout_count: int | None = None,
    limit: int | None = None,
) -> Calibration:
    """Find, hash and split the images.

    Files are taken in the order of their names; a file whose content repeats an earlier one is
    dropped, so that no content is on both sides. The split is deterministic and interleaved:
    held-out images are spread evenly over the order.

    Args:
        images: a folder with jpg, png, webp or bmp files (not its subfolders), or ``bundled``
            for the 20 ImageNet photographs of the foolbox package.
        heldout_fraction: share held out, in (0, 1); rounded, at least one.
        heldout_count: number held out, instead of the fraction; 0 for no such part.
        limit: use only the first so many images.

    Raises:
        CalibrationError: no folder, no images, or too few for both parts.
    """
    bundled = str(images) == BUNDLED
    folder = _bundled_folder() if bundled else Path(images)
    pattern = "imagenet_*" if bundled else "*"
    found = _distinct(_files(folder, pattern))
    if limit is not None:
        if limit < (1 if heldout_count == 0 else 2):
            raise CalibrationError(
                f"limit {limit} is too few images: one to calibrate and one to hold out are needed"
            )
        found = found[:limit]
    count = _heldout_count(len(found), heldout_fraction, heldout_count, folder)
    held = spread(len(found), count)
    return Calibration(
        images=tuple(image for i, image in enumerate(found) if i not in held),
        heldout=tuple(image for i, image in enumerate(found) if i in held),
        origin=BUNDLED if bundled else str(folder),
    )


def spread(total: int, count: int) -> set[int]:
    """``count`` of ``total`` places, evenly spread."""
    return {int((i + 0.5) * total / count) for i in range(count)}


def _bundled_folder() -> Path:
    """The data folder of foolbox, found without importing it."""
    return package_folder("foolbox", "the bundled photographs", DEMO_PACKAGES["foolbox"]) / "data"


def _files(folder: Path, pattern: str) -> list[Path]:
    """Image files of a folder in the order of their names."""
    if not folder.is_dir():
        raise CalibrationError(
            f"the image folder {folder} does not exist; name a folder with images or {BUNDLED!r}"
        )
    found = [path for path in folder.glob(pattern) if path.suffix.lower() in SUFFIXES]
    if not found:
        raise CalibrationError(
            f"no image directly in {folder}: looked for {', '.join(SUFFIXES)} (not in subfolders)"
        )
    return sorted(found, key=lambda path: path.name)


def _distinct(paths: Sequence[Path]) -> list[CalibrationImage]:
    """The images with their hashes, repeated content left out."""
    images: dict[str, CalibrationImage] = {}
    for path in paths:
        try:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError as error:
            raise CalibrationError(
                f"cannot read the image {path}: {error}; repair or remove it"
            ) from error
        images.setdefault(digest, CalibrationImage(path.name, path, digest))
    return list(images.values())


def _heldout_count(total: int, fraction: float, count: int | None, folder: Path) -> int:
    """How many of ``total`` images are held out, with both parts non-empty."""
    if total < 2 and count != 0:
        raise CalibrationError(
            f"{folder} has {total} distinct image; at least two are needed, "
            "one to calibrate and one to hold out"
        )
    if count is not None:
        if not 0 <= count < total:
            raise CalibrationError(
                f"cannot hold out {count} of {total} images: choose 0 to {total - 1}"
            )
        return count
    if not 0 < fraction < 1:
        raise CalibrationError(f"heldout_fraction {fraction} must lie strictly between 0 and 1")
    return min(max(1, round(total * fraction)), total - 1)
