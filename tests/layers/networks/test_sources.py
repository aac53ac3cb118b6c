"""Opening networks: names, own functions, libraries, checkpoints, and every refusal."""

import importlib.util
import pickle
import sys
from enum import Enum
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from layers.errors import CaptureError, SourceError
from layers.images.preprocessing import Preprocessing
from layers.networks.checkpoint import load_into, load_state
from layers.networks.open import BUNDLED_SOURCES, open_source, source_names
from layers.networks.resnet18 import ResNet18
from layers.packages import DEMO_PACKAGES


class Evil:
    """Unpickling this would create a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


def test_own_function() -> None:
    source = open_source("tests.layers.tiny:network")
    assert source.name == "tests.layers.tiny:network"
    assert source.preprocessing.size == 32
    assert [(x.name, x.kind, x.shape) for x in source.layers()] == [
        ("stem", "conv2d", (8, 3, 3, 3)),
        ("depthwise", "conv2d", (8, 1, 3, 3)),
        ("pointwise", "conv2d", (40, 8, 1, 1)),
        ("head", "linear", (12, 40)),
    ]
    again = open_source("tests.layers.tiny:network", preprocessing=Preprocessing(size=64))
    assert again.preprocessing.size == 64
    assert source.fingerprint() == again.fingerprint()


def test_fingerprint_sees_weights_buffers_and_structure() -> None:
    from layers.networks.torch_module import TorchSource

    def fingerprint(module: nn.Module) -> str:
        return TorchSource("x", Preprocessing(), "", module).fingerprint()

    def build(change: str = "") -> nn.Module:
        torch.manual_seed(0)
        conv, norm = nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2, eps=1e-3 if change == "eps" else 1e-5)
        net = nn.Sequential(conv, norm)
        with torch.no_grad():
            if change == "weight":
                conv.weight[0, 0] += 1e-7
            if change == "buffer":
                norm.get_buffer("running_mean").add_(1)
        return net

    prints = [fingerprint(build(change)) for change in ("", "", "eps", "weight", "buffer")]
    assert prints[0] == prints[1]
    assert len(set(prints)) == 4


USER_CODE = """
from torch import nn
import numpy as np
def bare(): return nn.Linear(3, 2)
def pair(): return nn.Linear(3, 2), lambda image: np.zeros((3, 4, 4))
def wrong(): return 7
def odd(): return nn.Linear(3, 2), "imagenet"
def fails(): raise OSError("no weights here")
value = 3
"""


def test_functions_from_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_own_nets.py").write_text(USER_CODE)
    (tmp_path / "my_broken_nets.py").write_text("import no_such_thing_at_all\n")
    (tmp_path / "my_failing_nets.py").write_text("1 / 0\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert open_source("my_own_nets:bare").preprocessing == Preprocessing()
    pair = open_source("my_own_nets:pair")
    assert pair.preprocessing(Image.new("RGB", (9, 9))).shape == (3, 4, 4)
    for name, words in {
        "my_own_nets:wrong": "returned a int; it must return an nn.Module",
        "my_own_nets:odd": "preprocessing is a str",
        "my_own_nets:fails": "failed with OSError: no weights here",
        "my_own_nets:value": "no function 'value'",
        "my_own_nets:nothing": "no function 'nothing'",
        "my_broken_nets:f": "no module named 'no_such_thing_at_all'",
        "my_failing_nets:f": "does not import: ZeroDivisionError",
        "no_such_module_here:f": "no module named 'no_such_module_here'",
    }.items():
        with pytest.raises(SourceError, match=words):
            open_source(name)


@pytest.mark.parametrize("name", ["mobilenet", "efficientnet-lite", "", ":", "x:", ":y"])
def test_unknown_names_list_the_known(name: str) -> None:
    with pytest.raises(SourceError) as caught:
        open_source(name)
    for known in source_names():
        assert known in str(caught.value)


def test_unknown_name_suggests() -> None:
    with pytest.raises(SourceError, match="did you mean 'mobilenet-v2'"):
        open_source("mobilenetv2")


@pytest.mark.parametrize("name", list(BUNDLED_SOURCES))
def test_missing_packages_say_what_to_install(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("layers.packages.find_spec", lambda package: None)
    with pytest.raises(SourceError, match=r"pip install --no-deps [a-z0-9-]+==[0-9.]+$"):
        open_source(name)


def test_requirement_files_pin_what_the_code_reads() -> None:
    root = Path(__file__).parents[3]
    lines = [
        line
        for file in ("requirements-demo.txt", "requirements-resnet18.txt")
        for line in (root / file).read_text().splitlines()
        if line and not line.startswith("#")
    ]
    assert sorted(lines) == sorted(DEMO_PACKAGES.values())


# Checkpoints


def test_checkpoints_of_both_formats(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(3, 2))
    state = net.state_dict()
    torch.save(
        {"epoch": 3, "state_dict": {f"module.{k}": v for k, v in state.items()}}, tmp_path / "a.pth"
    )
    save_file(state, tmp_path / "b.safetensors")
    for file in ("a.pth", "b.safetensors"):
        fresh = nn.Sequential(nn.Linear(3, 2))
        load_into(fresh, load_state(tmp_path / file), file)
        assert torch.equal(fresh.get_parameter("0.weight"), state["0.weight"])
    assert set(load_state(tmp_path / "b.safetensors", "0.")) == {"weight", "bias"}


def test_pickled_code_is_refused_and_not_run(tmp_path: Path) -> None:
    for name, save in {
        "torch.pth": torch.save,
        "plain.pth": lambda value, path: path.write_bytes(pickle.dumps(value)),
    }.items():
        mark = tmp_path / f"{name}.ran"
        save({"weight": torch.zeros(2), "evil": Evil(mark)}, tmp_path / name)
        with pytest.raises(SourceError, match="refused, because loading it could run its code"):
            load_state(tmp_path / name)
        assert not mark.exists()


def test_whole_pickled_modules_are_refused(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 2), tmp_path / "module.pth")
    with pytest.raises(SourceError, match=r"save module\.state_dict\(\)"):
        load_state(tmp_path / "module.pth")


def test_broken_checkpoints(tmp_path: Path) -> None:
    torch.save([torch.zeros(2)], tmp_path / "list.pth")
    torch.save({"epoch": 3}, tmp_path / "empty.pth")
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "whole.pth")
    data = (tmp_path / "whole.pth").read_bytes()
    (tmp_path / "cut.pth").write_bytes(data[: len(data) // 2])
    (tmp_path / "noise.safetensors").write_bytes(b"\x00" * 100)
    (tmp_path / "zero.pth").write_bytes(b"")
    for name, words in {
        "none.pth": "there is no checkpoint",
        "list.pth": "no mapping",
        "empty.pth": "holds no tensors",
        "cut.pth": "cut.pth",
        "noise.safetensors": "cannot read the checkpoint",
        "zero.pth": "zero.pth",
    }.items():
        with pytest.raises(SourceError, match=words):
            load_state(tmp_path / name)
    with pytest.raises(SourceError, match=r"whole\.pth does not fit Conv2d: .*[Mm]issing|size"):
        load_into(nn.Conv2d(1, 1, 1), load_state(tmp_path / "whole.pth"), tmp_path / "whole.pth")


# Libraries, stood in for: neither need be installed


class FakeWeights(Enum):
    DEFAULT = "weights"

    def get_state_dict(self, **options: Any) -> dict[str, torch.Tensor]:
        assert options["weights_only"] is True
        return {"weight": torch.ones(2, 3), "bias": torch.zeros(2)}

    def transforms(self) -> Any:
        return SimpleNamespace(
            crop_size=[32],
            resize_size=[40],
            mean=[0.5] * 3,
            std=[0.25] * 3,
            interpolation=SimpleNamespace(value="bilinear"),
        )


def fake_library(monkeypatch: pytest.MonkeyPatch, name: str, **members: Any) -> None:
    module = ModuleType(name)
    vars(module).update(members)
    monkeypatch.setitem(sys.modules, name, module)


def get_model(name: str, weights: None) -> nn.Module:
    if name != "net":
        raise ValueError(f"Unknown model {name}")
    return nn.Linear(3, 2)


def test_torchvision(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake_library(monkeypatch, "torchvision")
    fake_library(
        monkeypatch,
        "torchvision.models",
        get_model=get_model,
        get_model_weights=lambda name: FakeWeights,
    )
    source: Any = open_source("torchvision:net")
    assert source.name == "torchvision:net"
    assert source.module.weight.eq(1).all()
    assert source.preprocessing == Preprocessing(
        32, 40, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25), "bilinear"
    )
    save_file(
        {"weight": torch.full((2, 3), 5.0), "bias": torch.zeros(2)}, tmp_path / "c.safetensors"
    )
    loaded: Any = open_source(f"torchvision:net@{tmp_path / 'c.safetensors'}")
    assert loaded.module.weight.eq(5).all()
    assert loaded.name == f"torchvision:net@{tmp_path / 'c.safetensors'}"
    for name, words in {
        "torchvision:nut": "ValueError: Unknown model nut.*check the name",
        "torchvision:net@": "names no checkpoint",
        "torchvision:net@/no/where.pth": "there is no checkpoint /no/where.pth",
    }.items():
        with pytest.raises(SourceError, match=words):
            open_source(name)


def test_timm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pretrained: list[bool] = []

    def create_model(name: str, pretrained_: bool = False, **options: bool) -> nn.Module:
        pretrained.append(options["pretrained"])
        return get_model(name, None)

    config = {
        "input_size": (3, 224, 224),
        "mean": (0.5,) * 3,
        "std": (0.5,) * 3,
        "crop_pct": 0.9,
        "interpolation": "bicubic",
    }
    fake_library(monkeypatch, "timm", create_model=create_model)
    fake_library(monkeypatch, "timm.data", resolve_model_data_config=lambda net: config)
    source = open_source("timm:net")
    assert source.preprocessing == Preprocessing(
        224, 248, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "bicubic"
    )
    torch.save(nn.Linear(3, 2).state_dict(), tmp_path / "c.pth")
    open_source(f"timm:net@{tmp_path / 'c.pth'}")
    assert pretrained == [True, False]
    with pytest.raises(SourceError, match="timm:nut cannot be opened"):
        open_source("timm:nut")


@pytest.mark.parametrize("library", ["torchvision", "timm"])
def test_libraries_that_are_missing(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    for name in [m for m in sys.modules if m.startswith(f"{library}.")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(SourceError, match=f"{library} (is not installed: pip|does not import)"):
        open_source(f"{library}:resnet18")


def test_a_library_that_fails_to_import(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> ModuleType:
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr("layers.networks.external.importlib.import_module", fail)
    with pytest.raises(SourceError, match=r"does not import with this torch \(operator"):
        open_source("torchvision:resnet18")


def test_resnet18_has_torchvisions_names_and_shapes() -> None:
    state = ResNet18().state_dict()
    assert state["layer1.0.conv2.weight"].shape == (64, 64, 3, 3)
    assert state["layer2.0.downsample.0.weight"].shape == (128, 64, 1, 1)
    assert state["layer3.0.downsample.0.weight"].shape == (256, 128, 1, 1)
    assert len(state) == 120
    assert sum(v.numel() for k, v in state.items() if "running" not in k and "num" not in k) == (
        11_176_512
    )
    out = ResNet18().eval()(torch.zeros(1, 3, 64, 64))
    assert out.shape == (1, 512, 2, 2)


def test_no_layers_at_all() -> None:
    from layers.networks.torch_module import TorchSource

    source = TorchSource("empty", Preprocessing(), "", nn.ReLU())
    assert source.layers() == []
    with pytest.raises(CaptureError, match="no Conv2d or Linear layer at all"):
        source.resolve("fc")


def test_lazy_layers_are_not_listed() -> None:
    from layers.networks.torch_module import TorchSource

    source = TorchSource("lazy", Preprocessing(), "", nn.Sequential(nn.LazyLinear(3)))
    assert source.layers() == []


def test_found_packages_are_not_imported() -> None:
    if importlib.util.find_spec("foolbox") is None:
        pytest.skip("foolbox is not installed (requirements-demo.txt)")
    from layers.images.calibration import load_calibration

    assert len(load_calibration().images) == 14
    assert "foolbox" not in sys.modules
    assert np.asarray(load_calibration().images[0].open()).shape[2] == 3
