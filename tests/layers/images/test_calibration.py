"""Which images calibrate, which are held out, and what they become."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from layers.errors import CalibrationError
from layers.images.calibration import load_calibration
from layers.images.preprocessing import Preprocessing
from tests.layers.tiny import write_images


def names(images: tuple) -> list[str]:
    return [image.name for image in images]


def test_split_is_interleaved_disjoint_and_repeatable(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "images", 20)
    first = load_calibration(folder)
    assert first == load_calibration(str(folder))
    assert (len(first.images), len(first.heldout)) == (14, 6)
    assert names(first.heldout) == [f"image_{i:02d}.png" for i in (1, 5, 8, 11, 15, 18)]
    assert names(first.images) == sorted(names(first.images))
    assert not {i.sha256 for i in first.images} & {i.sha256 for i in first.heldout}


@pytest.mark.parametrize(
    ("count", "options", "expected"),
    [
        (2, {}, (1, 1)),
        (3, {"heldout_fraction": 0.01}, (2, 1)),
        (3, {"heldout_fraction": 0.99}, (1, 2)),
        (10, {"heldout_count": 4}, (6, 4)),
        (10, {"limit": 5, "heldout_count": 1}, (4, 1)),
        (10, {"heldout_count": 9}, (1, 9)),
        (10, {"heldout_count": 0}, (10, 0)),
        (1, {"heldout_count": 0}, (1, 0)),
    ],
)
def test_sizes(count: int, options: dict, expected: tuple[int, int], tmp_path: Path) -> None:
    found = load_calibration(write_images(tmp_path, count), **options)
    assert (len(found.images), len(found.heldout)) == expected


@pytest.mark.parametrize(
    ("count", "options", "words"),
    [
        (0, {}, "no image directly in"),
        (1, {}, "1 distinct image"),
        (4, {"heldout_count": 4}, "cannot hold out 4 of 4 images: choose 0 to 3"),
        (4, {"heldout_count": -1}, "cannot hold out -1"),
        (4, {"heldout_fraction": 1.0}, "strictly between"),
        (4, {"limit": 1}, "too few images"),
    ],
)
def test_refusals(count: int, options: dict, words: str, tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match=words):
        load_calibration(write_images(tmp_path, count), **options)


def test_repeated_content_is_used_once(tmp_path: Path) -> None:
    write_images(tmp_path, 4)
    for i in range(4):
        shutil.copy(tmp_path / f"image_{i:02d}.png", tmp_path / f"zz_copy_{i}.png")
    found = load_calibration(tmp_path)
    assert len(found.images) + len(found.heldout) == 4


def test_missing_folder_and_broken_file(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="nowhere does not exist"):
        load_calibration(tmp_path / "nowhere")
    write_images(tmp_path, 3)
    broken = tmp_path / "aa_broken.png"
    for content in (b"not an image", (tmp_path / "image_00.png").read_bytes()[:200]):
        broken.write_bytes(content)
        found = load_calibration(tmp_path, heldout_count=1)
        with pytest.raises(CalibrationError, match=r"aa_broken\.png"):
            found.images[0].open()


def test_formats_and_modes(tmp_path: Path) -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50), dtype=np.uint8))
    image.save(tmp_path / "grey.PNG")
    image.convert("RGBA").save(tmp_path / "alpha.webp")
    image.convert("RGB").save(tmp_path / "colour.jpeg")
    image.convert("P").save(tmp_path / "palette.bmp")
    (tmp_path / "notes.txt").write_text("not an image")
    found = load_calibration(tmp_path)
    assert len(found.images) + len(found.heldout) == 4
    for item in found.images + found.heldout:
        assert Preprocessing(size=16)(item.open()).shape == (3, 16, 16)


def test_preprocessing_crops_the_centre_and_normalises() -> None:
    pixels = np.zeros((8, 12, 3), np.uint8)
    pixels[2:6, 4:8] = 255
    same = Preprocessing(size=4, resize=8, mean=(0.5, 0.5, 0.25), std=(0.5, 0.25, 0.75))
    x = same(Image.fromarray(pixels))
    assert x.dtype == np.float32 and x.flags.c_contiguous
    np.testing.assert_allclose(x, np.broadcast_to([[[1.0]], [[2.0]], [[1.0]]], (3, 4, 4)))


def test_preprocessing_keeps_the_aspect_ratio() -> None:
    # A gradient along x: after resizing the shorter side 20 -> 10 its slope doubles, not more.
    ramp = np.broadcast_to(np.arange(60, dtype=np.uint8)[None, :, None], (20, 60, 3))
    x = Preprocessing(size=10, resize=10, mean=(0, 0, 0), std=(1, 1, 1))(Image.fromarray(ramp))
    np.testing.assert_allclose(np.diff(x[0, 5] * 255), 2, atol=1e-3)


def test_custom_function() -> None:
    image = Image.new("L", (5, 4), 7)

    def flat(picture: Image.Image) -> torch.Tensor:
        assert picture.mode == "RGB"
        return torch.ones(1, 3, 2, 2, dtype=torch.float64)

    made = Preprocessing(function=flat)
    assert made(image).shape == (3, 2, 2)
    assert made(image).dtype == np.float32
    assert made.describe().endswith("test_custom_function.<locals>.flat")
    with pytest.raises(CalibrationError, match="returned shape"):
        Preprocessing(function=lambda picture: np.zeros(3))(image)


@pytest.mark.parametrize(
    "wrong",
    [
        {"size": 0},
        {"size": 224, "resize": 100},
        {"interpolation": "cubic"},
        {"std": (1.0, 0.0, 1.0)},
        {"mean": (1.0, 0.0)},
    ],
)
def test_impossible_preprocessing(wrong: dict) -> None:
    with pytest.raises(CalibrationError, match="preprocessing"):
        Preprocessing(**wrong)
