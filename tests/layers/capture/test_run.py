"""Captured energy must be the squared norm of what the layer really puts out."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations

from layers.capture.collector import CapturedLayer
from layers.capture.run import capture_source
from layers.errors import CaptureError
from layers.images.preprocessing import Preprocessing
from layers.networks.torch_module import TorchSource
from tests.layers.tiny import network, small_calibration

SMALL = Preprocessing(size=16, resize=18)


class PaddedInside(nn.Conv2d):
    """Pads in its own forward, as EfficientNet's convolutions do."""

    def forward(self, input: Tensor) -> Tensor:
        padded = functional.pad(input, (0, 1, 0, 1))
        return functional.conv2d(
            padded, self.weight, bias=self.bias, stride=self.stride, groups=self.groups
        )


class Standardized(nn.Conv2d):
    """Computes its weights from its parameters."""

    def forward(self, input: Tensor) -> Tensor:
        centred = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return functional.conv2d(input, centred.float().to(input.dtype), self.bias)


class Wrapped(nn.Linear):
    """Has layers of its own inside, as LoRA does; the sum is made elsewhere."""

    def __init__(self, n: int, m: int) -> None:
        super().__init__(n, m)
        self.down, self.up = nn.Linear(n, 2, bias=False), nn.Linear(2, m, bias=False)

    def forward(self, input: Tensor) -> Tensor:
        self.up(self.down(input))
        return super().forward(input)


class Tokens(nn.Module):
    """Image -> (batch, height, width, 3) -> layer."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.permute(0, 2, 3, 1))


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.shared = nn.Conv2d(3, 3, 1)
        self.unused = nn.Conv2d(3, 3, 1)
        self.up = nn.Conv3d(1, 1, 1)
        self.blocks = nn.ModuleList([nn.Sequential(nn.Conv2d(3, 3, 1)) for _ in range(2)])

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks[1](self.blocks[0](self.up(self.shared(self.shared(x))[:, None])[:, 0]))


class CallsTwice(nn.Conv2d):
    def forward(self, input: Tensor) -> Tensor:
        return super().forward(super().forward(input))


class NeverCalls(nn.Linear):
    def forward(self, input: Tensor) -> Tensor:
        return input @ self.weight.T


class Poison(nn.Module):
    """Turns bright images into NaN."""

    def __init__(self, limit: float) -> None:
        super().__init__()
        self.limit = limit
        self.after = nn.Conv2d(3, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.after(torch.where(x.sum() > self.limit, x * torch.inf, x))


def source(module: nn.Module, preprocessing: Preprocessing = SMALL) -> TorchSource:
    """A source in double precision whose weights fit float32."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return TorchSource("test", preprocessing, "none", module.double())


def energies(layer: CapturedLayer) -> np.ndarray:
    """Per channel, from the calibration Gram."""
    w = layer.weights.astype(np.float64).reshape(layer.geometry.groups, -1, layer.weights.shape[1])
    return np.einsum("gcn,gnm,gcm->gc", w, layer.gram_blocks[0], w).reshape(-1)


LAYERS: list[tuple[str, nn.Module]] = [
    ("stride", nn.Conv2d(3, 6, 3, stride=2, padding=1)),
    ("uneven", nn.Conv2d(3, 6, (3, 2), stride=(1, 2), padding=(2, 0), dilation=(2, 1))),
    ("groups", nn.Conv2d(3, 6, 3, groups=3, bias=False)),
    ("same", nn.Conv2d(3, 6, (3, 5), padding="same", dilation=2)),
    ("valid", nn.Conv2d(3, 6, 3, padding="valid")),
    ("reflect", nn.Conv2d(3, 6, 3, padding=(1, 2), padding_mode="reflect")),
    ("replicate", nn.Conv2d(3, 6, 3, padding=2, padding_mode="replicate", stride=2)),
    ("circular", nn.Conv2d(3, 6, 3, padding="same", padding_mode="circular")),
    ("padded inside", PaddedInside(3, 6, 3, stride=2)),
    ("standardized", Standardized(3, 6, 3)),
    ("weight norm", parametrizations.weight_norm(nn.Conv2d(3, 6, 3))),
    ("linear", Tokens(nn.Linear(3, 5))),
    ("wrapped linear", Tokens(Wrapped(3, 5))),
]


@pytest.mark.parametrize(("label", "module"), LAYERS, ids=[label for label, _ in LAYERS])
def test_energy_is_the_squared_norm_of_the_output(
    label: str, module: nn.Module, tmp_path: Path
) -> None:
    calibration = small_calibration(tmp_path)
    opened = source(module)
    if label == "weight norm":  # its product is not a float32 number; see the refusal below
        with pytest.raises(CaptureError, match="do not fit float32"):
            capture_source(opened, ["root"], calibration)
        opened = TorchSource("test", SMALL, "none", module.float())
    layer: Any = module.layer if isinstance(module, Tokens) else module
    [captured] = capture_source(opened, [opened.layers()[0].name], calibration)
    expected = torch.zeros(layer.weight.shape[0], dtype=torch.float64)
    with torch.no_grad():
        for image in calibration.images:
            x = torch.from_numpy(SMALL(image.open()))[None]
            out = module(x.to(layer.weight.dtype)).double()
            if not isinstance(module, Tokens):
                out = out.movedim(1, -1)
            bias = torch.zeros(1) if layer.bias is None else layer.bias
            expected += (out - bias).reshape(-1, out.shape[-1]).square().sum(0)
    tolerance = 1e-5 if label == "weight norm" else 1e-10
    np.testing.assert_allclose(energies(captured), expected.numpy(), rtol=tolerance)


def test_tiny_network_all_layers_in_one_pass(tmp_path: Path) -> None:
    net, preprocessing = network()
    opened = TorchSource("tiny", preprocessing, "none", net.train())
    names = [layer.name for layer in opened.layers()]
    assert names == ["stem", "depthwise", "pointwise", "head"]
    seen: list[tuple[int, int, str]] = []
    captured = capture_source(
        opened,
        [*names, "head"],
        small_calibration(tmp_path),
        progress=lambda *event: seen.append(event),
    )
    assert [layer.name for layer in captured] == names
    assert [(c.rows, c.heldout_rows) for c in captured] == [(512, 256)] * 3 + [(32, 16)]
    assert [c.gram_blocks[0].shape for c in captured] == [
        (1, 27, 27),
        (8, 9, 9),
        (1, 8, 8),
        (1, 40, 40),
    ]
    assert [event[:2] for event in seen] == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert captured[1].geometry.padding == (1, 1, 1, 1)
    assert net.training, "the training flag must be as before"


def test_bits_do_not_depend_on_threads_or_on_the_other_layers(tmp_path: Path) -> None:
    calibration = small_calibration(tmp_path)
    opened = TorchSource("tiny", network()[1], "none", network()[0])
    before = torch.get_num_threads()
    results = []
    for threads, names in ((1, ["pointwise", "stem"]), (2, ["pointwise"])):
        torch.set_num_threads(threads)
        try:
            results.append(capture_source(opened, names, calibration)[0].gram_blocks[0])
            assert torch.get_num_threads() == threads
        finally:
            torch.set_num_threads(before)
    assert np.array_equal(*results)


@pytest.mark.parametrize(
    ("module", "name", "words"),
    [
        (Twice(), "shared", "'shared' fired 2 times"),
        (Twice(), "unused", "'unused' never fired for image image_00.png"),
        (
            Twice(),
            "up",
            "'up' of test is a Conv3d; only Linear, Conv1d, Conv2d and their transposed forms",
        ),
        (Twice(), "blocks.0", "is a Sequential; .* name a layer inside it, blocks.0."),
        (Twice(), "0", "ambiguous: it could be blocks.0.0, blocks.1.0"),
        (Twice(), "sharde", "no layer 'sharde'; close: shared"),
        (CallsTwice(3, 3, 1), "root", "2 times in one forward"),
        (Tokens(NeverCalls(3, 3)), "layer", "a NeverCalls, called F.conv2d or F.linear 0 times"),
        (Poison(-1e9), "after", "'after' sees NaN or infinite .* image_00.png"),
    ],
)
def test_refusals_name_the_layer_and_leave_no_hooks(
    module: nn.Module, name: str, words: str, tmp_path: Path
) -> None:
    with pytest.raises(CaptureError, match=words):
        capture_source(source(module), [name], small_calibration(tmp_path))
    for inner in module.modules():
        assert not inner._forward_hooks
        assert not inner._forward_pre_hooks
        assert not inner._forward_hooks_always_called


def test_hooks_go_when_the_network_itself_fails(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1))
    with pytest.raises(RuntimeError):
        capture_source(source(module), ["0"], small_calibration(tmp_path))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in module.modules())


def test_the_poisoned_image_is_the_one_named(tmp_path: Path) -> None:
    calibration = small_calibration(tmp_path)
    sums = {i.name: float(SMALL(i.open()).sum()) for i in calibration.images}
    worst = max(sums, key=sums.__getitem__)
    limit = sorted(sums.values())[-2]
    with pytest.raises(CaptureError, match=f"NaN.*{worst}"):
        capture_source(source(Poison(limit + 1e-6)), ["after"], calibration)


def test_nan_weights_are_refused(tmp_path: Path) -> None:
    module = nn.Conv2d(3, 2, 1)
    opened = source(module)
    with torch.no_grad():
        module.weight[0, 0] = torch.nan
    with pytest.raises(CaptureError, match="weights of layer 'root' are NaN"):
        capture_source(opened, ["root"], small_calibration(tmp_path))


def test_weights_that_change_between_images_are_refused(tmp_path: Path) -> None:
    module = nn.Conv2d(3, 2, 1)

    def drift(layer: nn.Conv2d, _inputs: Any) -> None:
        with torch.no_grad():
            layer.weight += 1

    opened = source(module)
    module.register_forward_pre_hook(drift)
    with pytest.raises(CaptureError, match="'root' changes its weights"):
        capture_source(opened, ["root"], small_calibration(tmp_path))


def test_fused_transformer_layers_are_seen(tmp_path: Path) -> None:
    # In evaluation mode torch would take a fused path that calls no module inside.
    layer = nn.TransformerEncoderLayer(3, 1, 8, batch_first=True, dropout=0.0)

    class Flat(Tokens):
        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x.flatten(2).transpose(1, 2))

    opened = TorchSource("test", SMALL, "none", Flat(layer).eval())
    calibration = small_calibration(tmp_path)
    captured = capture_source(opened, ["linear1", "linear2"], calibration)
    assert [c.weights.shape for c in captured] == [(8, 3), (3, 8)]


def test_half_precision_networks_run_in_their_own_type(tmp_path: Path) -> None:
    opened = TorchSource("half", network()[1], "none", network()[0].bfloat16())
    [layer] = capture_source(opened, ["pointwise"], small_calibration(tmp_path))
    assert layer.weights.dtype == np.float32
    assert layer.gram_blocks[0].dtype == np.float64


def test_no_layers_named(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="no layer was named"):
        capture_source(source(Twice()), [], small_calibration(tmp_path))
