"""Extraction writes each dump once, and again only when something changed."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from layers.dump.file import read_dump
from layers.errors import CaptureError, DumpError
from layers.extract import PLAIN, extract, list_layers
from layers.images.calibration import load_calibration
from layers.images.preprocessing import Preprocessing
from layers.networks.torch_module import TorchSource
from tests.layers.tiny import network, write_images

TINY = "tests.layers.tiny:network"


class Counter:
    """A progress callback that knows whether any image was run."""

    def __init__(self) -> None:
        self.events: list[tuple[int, int, str]] = []

    def __call__(self, done: int, total: int, what: str) -> None:
        self.events.append((done, total, what))


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return write_images(tmp_path / "images", 4)


def test_dumps_say_what_they_are(images: Path, tmp_path: Path) -> None:
    paths = extract(TINY, ["stem", "head"], images, tmp_path / "dumps")
    assert len(paths) == 2
    stem, head = map(read_dump, paths)
    assert (stem.source, stem.layer, stem.kind) == (TINY, "stem", "conv2d")
    assert (stem.kernel_size, stem.stride, stem.padding) == ((3, 3), (2, 2), (1, 1, 1, 1))
    assert (stem.rows, stem.heldout_rows) == (3 * 256, 256)
    assert (head.kind, head.weight_shape, head.rows) == ("linear", (12, 40), 48)
    assert [name for name, _ in stem.images + stem.heldout_images] == [
        "image_00.png",
        "image_01.png",
        "image_03.png",
        "image_02.png",
    ]
    assert stem.versions["torch"] == torch.__version__
    assert {"network", "preprocessing", "blocks"} <= stem.recipe.keys()
    net = network()[0]
    weights: Any = net.get_parameter("stem.weight")
    assert np.array_equal(stem.weights, weights.detach().numpy().reshape(8, 27))
    assert str(tmp_path) not in paths[0].read_bytes().decode("latin-1"), "no private paths"


def test_second_run_does_nothing(images: Path, tmp_path: Path) -> None:
    first = extract(TINY, ["stem", "pointwise"], images, tmp_path / "dumps")
    stamps = [path.stat().st_mtime_ns for path in first]
    seen = Counter()
    again = extract(TINY, ["stem", "pointwise"], images, tmp_path / "dumps", progress=seen)
    assert again == first
    assert [path.stat().st_mtime_ns for path in again] == stamps
    assert not seen.events


def test_only_what_is_missing_is_made(images: Path, tmp_path: Path) -> None:
    [stem] = extract(TINY, ["stem"], images, tmp_path / "dumps")
    stamp = stem.stat().st_mtime_ns
    seen = Counter()
    both = extract(TINY, ["head", "stem"], images, tmp_path / "dumps", progress=seen)
    assert both[1] == stem and stem.stat().st_mtime_ns == stamp
    assert seen.events[0][:2] == (0, 4) and seen.events[-1][:2] == (4, 4)


def test_damaged_dumps_are_made_again(images: Path, tmp_path: Path) -> None:
    [path] = extract(TINY, ["stem"], images, tmp_path / "dumps")
    good = path.read_bytes()
    for damaged in (good[:100], good[:-1], b"", good.replace(b"stem", b"stam")):
        path.write_bytes(damaged)
        extract(TINY, ["stem"], images, tmp_path / "dumps")
        assert path.read_bytes() == good, "the same bytes again"


def test_every_change_is_noticed(images: Path, tmp_path: Path) -> None:
    def run(source: Any = TINY, folder: Path = images, **options: Any) -> str:
        [path] = extract(source, ["pointwise"], folder, tmp_path / "dumps", **options)
        return read_dump(path).content_hash

    def changed(preprocessing: Preprocessing | None = None, weight: float = 0.0) -> TorchSource:
        net, own = network()
        with torch.no_grad():
            net.get_parameter("stem.weight")[0, 0, 0, 0] += weight
        return TorchSource(TINY, preprocessing or own, "your own", net.eval())

    hashes = [
        run(),
        run(heldout_count=2),
        run(limit=3),
        run(blocks=4),
        run(changed(weight=0.01)),
        run(changed(Preprocessing(size=32, resize=40))),
        run(folder=write_images(tmp_path / "others", 4, seed=1)),
    ]
    assert len(set(hashes)) == len(hashes)
    assert run() == hashes[0]
    assert run(changed()) == hashes[0], "an opened source is as good as its name"
    assert run(folder=load_calibration(images)) == hashes[0]  # type: ignore[arg-type]


def test_a_changed_function_of_the_same_name_is_noticed(images: Path, tmp_path: Path) -> None:
    level = 1.0

    def fill(_image: Any) -> np.ndarray:
        return np.full((3, 32, 32), level)

    source = TorchSource("own", Preprocessing(function=fill), "", network()[0].eval())
    [path] = extract(source, ["stem"], images, tmp_path)
    first = read_dump(path).content_hash
    level = 2.0
    extract(source, ["stem"], images, tmp_path)
    assert read_dump(path).content_hash != first


def test_chunk_diagonal_blocks(images: Path, tmp_path: Path) -> None:
    [full] = extract(TINY, ["head"], images, tmp_path / "full", blocks="full")
    [cut] = extract(TINY, ["head"], images, tmp_path / "cut", blocks=36)
    whole, parts = read_dump(full), read_dump(cut)
    assert (whole.block_width, parts.block_width) == (None, 36)
    assert cut.stat().st_size < full.stat().st_size
    for a, b in zip(whole.chunks(36), parts.chunks(36), strict=True):
        # The same sums in another order of a matrix product.
        np.testing.assert_allclose(a.gram, b.gram, rtol=1e-12, atol=1e-12 * a.gram.max())
    with pytest.raises(DumpError, match="stores Gram blocks 36 features wide"):
        parts.chunks(None)


def test_nothing_is_written_when_one_layer_fails(images: Path, tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="no layer 'nose'"):
        extract(TINY, ["stem", "nose"], images, tmp_path / "dumps")
    with pytest.raises(CaptureError, match="no layer of"):
        extract(TINY, [], images, tmp_path / "dumps")
    with pytest.raises(CaptureError, match="blocks 'some'"):
        extract(TINY, ["stem"], images, tmp_path / "dumps", blocks="some")  # type: ignore[arg-type]
    assert not (tmp_path / "dumps").exists()


def test_unwritable_folder(images: Path, tmp_path: Path) -> None:
    (tmp_path / "in_the_way").write_text("a file, not a folder")
    with pytest.raises(DumpError, match=r"cannot write the dump .*in_the_way"):
        extract(TINY, ["stem"], images, tmp_path / "in_the_way")


def test_list_layers() -> None:
    assert [layer.name for layer in list_layers(TINY)] == ["stem", "depthwise", "pointwise", "head"]


def test_plain_unfolding_ignores_stride_and_padding(images: Path, tmp_path: Path) -> None:
    """As the paper's released code: windows of the unpadded input, one step apart."""
    [right] = extract(TINY, ["stem"], images, tmp_path)
    [plain] = extract(TINY, ["stem"], images, tmp_path, plain_unfold=True)
    assert right != plain
    executed, unfolded = read_dump(right), read_dump(plain)
    assert (executed.stride, executed.padding) == ((2, 2), (1, 1, 1, 1))
    assert (unfolded.stride, unfolded.padding) == ((1, 1), (0, 0, 0, 0))
    assert unfolded.layer == executed.layer
    assert unfolded.recipe["lowering"] == PLAIN and "lowering" not in executed.recipe
    assert np.array_equal(unfolded.weights, executed.weights)
    _, preprocessing = network()
    rows = []
    for image in load_calibration(images).images:
        x = torch.from_numpy(preprocessing(image.open())).to(torch.float64).unsqueeze(0)
        rows.append(torch.nn.functional.unfold(x, 3)[0].T.numpy())
    x = np.concatenate(rows)
    assert unfolded.rows == len(x) != executed.rows
    np.testing.assert_allclose(unfolded.gram_blocks[0][0], x.T @ x, rtol=1e-9)
    # Both are kept, and neither is taken for the other.
    counter = Counter()
    extract(TINY, ["stem"], images, tmp_path, plain_unfold=True, progress=counter)
    extract(TINY, ["stem"], images, tmp_path, progress=counter)
    assert counter.events == []


ATTENTION = "tests.layers.tiny:attention"


def test_a_layer_that_cannot_be_captured_is_named_and_the_others_written(
    images: Path, tmp_path: Path
) -> None:
    said: dict[str, str] = {}
    counter = Counter()

    def reject(name: str, error: CaptureError) -> None:
        assert name not in said
        said[name] = str(error)

    paths = extract(ATTENTION, ["*"], images, tmp_path, progress=counter, reject=reject)
    attention = ["attention.in_proj", "attention.out_proj"]
    assert [read_dump(path).layer for path in paths] == ["stem", *attention, "blocks.0", "blocks.1"]
    assert set(said) == {"unused", "broken"}
    assert "never fired" in said["unused"] and "NaN" in said["broken"]
    # The numbers are those of layers captured without bad company.
    [alone] = extract(ATTENTION, ["blocks.1"], images, tmp_path / "alone")
    both = read_dump(alone), read_dump(paths[-1])
    np.testing.assert_array_equal(both[0].gram_blocks[0], both[1].gram_blocks[0])
    assert both[0].rows == both[1].rows


def test_a_layer_asked_for_by_name_raises_unless_somebody_listens(
    images: Path, tmp_path: Path
) -> None:
    with pytest.raises(CaptureError, match="never fired"):
        extract(ATTENTION, ["stem", "unused"], images, tmp_path / "dumps")
    assert not (tmp_path / "dumps").exists()


def test_patterns(images: Path, tmp_path: Path) -> None:
    wanted = ["blocks.1", "blocks.*", "st?m"]
    paths = extract(ATTENTION, wanted, images, tmp_path)
    assert [read_dump(path).layer for path in paths] == ["blocks.1", "blocks.0", "stem"]
    with pytest.raises(CaptureError, match=r"no layer of .* matches 'block\.\*'.*blocks\.0"):
        extract(ATTENTION, ["block.*"], images, tmp_path)
