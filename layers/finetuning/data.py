"""Examples by name: the bundled digits or photographs, a folder, or one's own function."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from layers.errors import CalibrationError, FinetuneError, SourceError
from layers.finetuning.examples import Examples, Held, Part, as_part, refuse_other_shape
from layers.images.calibration import SUFFIXES, CalibrationImage, load_calibration
from layers.images.preprocessing import Preprocessing
from layers.networks.digits import GREYS, INK, SIDE
from layers.networks.external import call_function

DIGITS, PHOTOGRAPHS = "digits", "photographs"
#: Every third digit is tested on; the others are trained on.
TEST_EVERY = 3
HELD_PHOTOGRAPHS = 6
#: Decoded images are kept in memory up to so many bytes.
MOST_KEPT = 2**30
REQUIREMENT = "scikit-learn"


def load_examples(name: str, preprocessing: Preprocessing) -> Examples:
    """Find labelled examples.

    Args:
        name: ``digits`` (1,797 scans of handwritten digits that scikit-learn ships, every third to
            test on), ``photographs`` (the 20 ImageNet photographs, 6 to test on), a folder with
            ``train`` and ``test``, each with a folder of images per class, or
            ``module:function`` that returns such a pair, see ``examples.as_part``.
        preprocessing: from an image to an input.

    Raises:
        FinetuneError: nothing of that name, no labels, one class, or inputs of several sizes.
        SourceError: a package or module is missing.
        CalibrationError: an unreadable image.
    """
    if name == DIGITS:
        return digits()
    if name == PHOTOGRAPHS:
        return photographs(preprocessing)
    if Path(name).is_dir():
        return image_folder(Path(name), preprocessing)
    module, colon, function = name.partition(":")
    if not (colon and module and function):
        raise FinetuneError(
            f"there are no examples {name!r}: give {DIGITS}, {PHOTOGRAPHS}, a folder with train "
            "and test folders, or module:function"
        )
    given = call_function(module, function)
    if not isinstance(given, tuple | list) or len(given) != 2:
        raise FinetuneError(
            f"{name} returned a {type(given).__name__}; it must return a pair: what to train on "
            "and what to test on"
        )
    return Examples(name, as_part(f"{name} (train)", given[0]), as_part(f"{name} (test)", given[1]))


def digits_file() -> Path:
    """Where scikit-learn keeps the digits; it is not imported.

    Raises:
        SourceError: it is not installed.
    """
    spec = find_spec("sklearn")
    folder = next(iter(spec.submodule_search_locations or ()), None) if spec else None
    path = Path(folder or ".") / "datasets" / "data" / "digits.csv.gz"
    if folder is None or not path.is_file():
        raise SourceError(
            f"the digits come with {REQUIREMENT}, which is not installed or has moved them: "
            "pip install 'layerbounds[finetune]'"
        )
    return path


def read_digits() -> tuple[np.ndarray, np.ndarray]:
    """Ink (1797, 8, 8) in whole numbers from 0 to 16, and labels (1797,).

    Raises:
        SourceError: scikit-learn is not installed.
    """
    table = np.loadtxt(digits_file(), delimiter=",", dtype=np.int64)
    return table[:, :-1].reshape(-1, SIDE, SIDE), table[:, -1]


def digits() -> Examples:
    """The digits: 1,198 to train on, 599 to test on.

    Raises:
        SourceError: scikit-learn is not installed.
    """
    ink, labels = read_digits()
    x = torch.from_numpy((ink * GREYS).astype(np.float32) / np.float32(INK * GREYS)).unsqueeze(1)
    y = torch.from_numpy(labels)
    test = torch.arange(len(y)) % TEST_EVERY == TEST_EVERY - 1
    return Examples(DIGITS, Held(x[~test], y[~test]), Held(x[test], y[test]))


def photographs(preprocessing: Preprocessing) -> Examples:
    """The bundled photographs; their names end with their class.

    Raises:
        SourceError: their package is missing.  FinetuneError: a name without a class.
    """
    split = load_calibration(heldout_count=HELD_PHOTOGRAPHS)
    parts = []
    for images in (split.images, split.heldout):
        found = [re.search(r"_(\d+)\.\w+$", image.name) for image in images]
        if not all(found):
            raise FinetuneError("the photographs have no labels: their names end with no number")
        parts.append(Files(images, [int(match[1]) for match in found if match], preprocessing))
    return Examples(PHOTOGRAPHS, *parts)


def image_folder(folder: Path, preprocessing: Preprocessing) -> Examples:
    """``folder/train/CLASS/*`` and ``folder/test/CLASS/*``, as torchvision's ImageFolder has it.

    Classes are numbered in the order of their names, over both parts.

    Raises:
        FinetuneError: a part is missing, or has images that are in no class's folder.
    """
    parts = {part: folder / part for part in ("train", "test")}
    for part, path in parts.items():
        if not path.is_dir():
            raise FinetuneError(
                f"{folder} has no folder {part}; make {part}/CLASS/*.png for every class"
            )
        if loose := [f for f in path.iterdir() if f.suffix.lower() in SUFFIXES]:
            raise FinetuneError(
                f"{loose[0]} has no label: images must lie in a folder of their class, {part}/CLASS"
            )
    classes = sorted({p.name for path in parts.values() for p in path.iterdir() if p.is_dir()})
    found: list[Part] = []
    for path in parts.values():
        images: list[CalibrationImage] = []
        labels: list[int] = []
        for label, name in enumerate(classes):
            inside = (path / name).iterdir() if (path / name).is_dir() else ()
            for file in sorted(inside):
                if file.suffix.lower() in SUFFIXES:
                    digest = hashlib.sha256(file.read_bytes()).hexdigest()
                    images.append(CalibrationImage(file.name, file, digest))
                    labels.append(label)
        found.append(Files(images, labels, preprocessing))
    return Examples(str(folder), *found)


class Files:
    """Images in files, decoded when wanted."""

    def __init__(
        self,
        images: Sequence[CalibrationImage],
        labels: Sequence[int],
        preprocessing: Preprocessing,
    ) -> None:
        """One label for each image."""
        self.images = images
        self.preprocessing = preprocessing
        self._labels = torch.tensor(labels, dtype=torch.int64)
        self._kept: dict[int, Tensor] = {}
        self._bytes = 0
        self._first: tuple[int, ...] | None = None

    @property
    def labels(self) -> Tensor:
        """(examples,) int64."""
        return self._labels

    def inputs(self, indices: Sequence[int]) -> Tensor:
        """Inputs of some images.

        Raises:
            CalibrationError: an unreadable image.  FinetuneError: inputs of several sizes.
        """
        return torch.stack([self._input(int(index)) for index in indices])

    def digest(self) -> str:
        """sha256 of the files, their labels and the preprocessing."""
        digest = hashlib.sha256(self.preprocessing.describe().encode())
        for image, label in zip(self.images, self._labels.tolist(), strict=True):
            digest.update(f"{image.sha256} {label}".encode())
        return digest.hexdigest()

    def _input(self, index: int) -> Tensor:
        if index in self._kept:
            return self._kept[index]
        image = self.images[index]
        try:
            x = torch.from_numpy(self.preprocessing(image.open()))
        except (TypeError, ValueError) as error:
            raise CalibrationError(f"{image.path} cannot be preprocessed: {error}") from error
        self._first = self._first or tuple(x.shape)
        refuse_other_shape(str(image.path), tuple(x.shape), self._first)
        self._bytes += x.numel() * x.element_size()
        if self._bytes <= MOST_KEPT:
            self._kept[index] = x
        return x
