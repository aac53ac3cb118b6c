"""Examples: the digits as they are shipped, folders, functions, and what is refused."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from PIL import Image

from layers.errors import CalibrationError, FinetuneError, SourceError
from layers.finetuning import data as loading
from layers.finetuning.data import load_examples, read_digits
from layers.finetuning.examples import Examples, Held, as_part, batches, even_batches
from layers.images.preprocessing import Preprocessing
from layers.networks.digits import digits_image, digits_input
from tests.layers.finetuning.tiny_task import data, tensors

SMALL = Preprocessing(size=8, resize=8)


def test_digits_are_those_of_scikit_learn():
    found = load_examples("digits", SMALL)
    ink, labels = read_digits()
    assert ink.shape == (1797, 8, 8) and ink.min() == 0 and ink.max() == 16
    assert len(found.train.labels) == 1198 and len(found.test.labels) == 599
    assert sorted(found.train.labels.unique().tolist()) == list(range(10))
    assert torch.equal(found.test.labels, torch.from_numpy(labels[2::3]))
    x = found.test.inputs([5])[0]
    np.testing.assert_array_equal(x.numpy(), digits_input(digits_image(ink[17])))
    assert x.shape == (1, 8, 8) and float(found.train.inputs(range(1198)).max()) == 1.0
    datasets = pytest.importorskip("sklearn.datasets")
    theirs = datasets.load_digits()
    np.testing.assert_array_equal(ink, theirs.images)
    np.testing.assert_array_equal(labels, theirs.target)


def test_digits_without_their_package(monkeypatch):
    monkeypatch.setattr(loading, "find_spec", lambda name: None)
    with pytest.raises(SourceError, match=r"layerbounds\[finetune\]"):
        load_examples("digits", SMALL)


def write_folder(root, classes=("cat", "dog"), count=3, size=(10, 8)):
    rng = np.random.default_rng(0)
    for part in ("train", "test"):
        for name in classes:
            (root / part / name).mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / part / name / f"{i}.png")
    return root


def test_a_folder_of_images(tmp_path):
    found = load_examples(str(write_folder(tmp_path)), SMALL)
    assert found.train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert found.train.inputs([4, 0]).shape == (2, 3, 8, 8)
    first = found.train.inputs([1])[0]
    with Image.open(tmp_path / "train" / "cat" / "1.png") as image:
        np.testing.assert_array_equal(first.numpy(), SMALL(image))
    before = found.digest()
    (tmp_path / "test" / "dog" / "0.png").unlink()
    assert load_examples(str(tmp_path), SMALL).digest() != before


def test_folders_that_are_refused(tmp_path):
    with pytest.raises(FinetuneError, match="no folder train; make train/CLASS"):
        load_examples(str(tmp_path), SMALL)
    one = write_folder(tmp_path / "one", classes=("cat",))
    with pytest.raises(FinetuneError, match=r"3 training examples .* label 0.*two classes"):
        load_examples(str(one), SMALL)
    loose = write_folder(tmp_path / "loose")
    Image.new("RGB", (8, 8)).save(loose / "train" / "stray.png")
    with pytest.raises(FinetuneError, match=r"stray.png has no label.*train/CLASS"):
        load_examples(str(loose), SMALL)
    bare = write_folder(tmp_path / "bare", count=0)
    with pytest.raises(FinetuneError, match="no examples to train on"):
        load_examples(str(bare), SMALL)
    broken = write_folder(tmp_path / "broken")
    (broken / "train" / "cat" / "0.png").write_bytes(b"no image")
    with pytest.raises(CalibrationError, match="cannot read the image"):
        load_examples(str(broken), SMALL).train.inputs([0])


def test_images_of_other_sizes(tmp_path):
    root = write_folder(tmp_path)
    Image.new("RGB", (12, 12)).save(root / "train" / "cat" / "1.png")
    as_they_are = Preprocessing(function=lambda image: np.asarray(image).transpose(2, 0, 1))
    found = load_examples(str(root), as_they_are)
    with pytest.raises(FinetuneError, match=r"shape \(3, 12, 12\), another \(3, 8, 10\).*one size"):
        found.train.inputs([0, 1])
    with pytest.raises(FinetuneError, match="to one size"):
        as_part("x", ([np.zeros((1, 4, 4)), np.zeros((1, 5, 4))], [0, 1]))
    with pytest.raises(FinetuneError, match="to one size"):
        as_part("x", [(torch.zeros(1, 4), 0), (torch.zeros(1, 5), 1), (torch.zeros(1, 4), 1)])


def test_photographs_have_their_classes_in_their_names():
    pytest.importorskip("numpy")
    found = load_examples("photographs", Preprocessing(size=16, resize=16))
    assert len(found.train.labels) == 14 and len(found.test.labels) == 6
    assert int(found.train.labels.min()) >= 0 and int(found.train.labels.max()) < 1000


def test_a_function_of_ones_own():
    found = load_examples("tests.layers.finetuning.tiny_task:data", SMALL)
    assert torch.equal(found.train.inputs(range(48)), data()[0][0])
    same = Examples("other", Held(*tensors(48, 1)), Held(*tensors(24, 2)))
    assert found.digest() == same.digest()
    with pytest.raises(FinetuneError, match="must return a pair: what to train on"):
        load_examples("tests.layers.finetuning.tiny_task:examples", SMALL)
    with pytest.raises(FinetuneError, match="no examples 'digit'"):
        load_examples("digit", SMALL)
    with pytest.raises(SourceError, match="no function 'nothing'"):
        load_examples("tests.layers.finetuning.tiny_task:nothing", SMALL)


def test_a_dataset_of_torch():
    dataset = torch.utils.data.TensorDataset(*tensors(9, 4))
    part = as_part("x", dataset)
    assert part.labels.tolist() == [0, 1, 2] * 3
    assert torch.equal(part.inputs([8, 2]), tensors(9, 4)[0][[8, 2]])


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (torch.zeros(5, 3), "has no labels"),
        (np.zeros((5, 3)), "has no labels"),
        ((torch.zeros(5, 3), None), "has no labels"),
        ((torch.zeros(5, 3), torch.zeros(5)), "one whole number"),
        ((torch.zeros(5, 3), [0, 1, -1, 0, 1]), "one whole number"),
        ((torch.zeros(5, 3), ["cat"] * 5), "no numbers"),
        ((torch.zeros(5, 3), [0, 1]), "5 inputs and 2 labels"),
        ([torch.zeros(3), torch.zeros(3), torch.zeros(3)], "has no labels: item 0 is a Tensor"),
        (7, "has no labels: it is a int"),
    ],
)
def test_a_dataset_without_labels(given, words):
    with pytest.raises(FinetuneError, match=words):
        as_part("x", given)


def test_one_class_and_none():
    x, y = tensors(6, 1)
    with pytest.raises(FinetuneError, match="two classes or more"):
        Examples("x", Held(x, torch.zeros_like(y)), Held(x, y))
    with pytest.raises(FinetuneError, match="no examples to test on"):
        Examples("x", Held(x, y), Held(x[:0], y[:0]))


def test_batches():
    part = Held(*tensors(10, 1))
    assert [len(x) for x, _ in batches(part, "cpu", 4)] == [4, 4, 2]
    assert [len(x) for x in even_batches(part, "cpu", 4)] == [4, 4]
    assert [len(x) for x in even_batches(part, "cpu", 64)] == [10]


def test_scikit_learn_is_not_imported():
    import subprocess

    program = (
        "import sys\nfrom layers.finetuning.data import digits\ndigits()\n"
        "assert 'sklearn' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)
