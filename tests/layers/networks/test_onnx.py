"""ONNX graphs give the Grams that torch gives for the same network."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from layers.capture.run import capture_source
from layers.errors import CaptureError, SourceError
from layers.images.preprocessing import Preprocessing
from layers.networks.onnx_file import open_onnx
from layers.networks.open import open_source
from layers.networks.torch_module import TorchSource
from tests.layers.tiny import small_calibration

onnx = pytest.importorskip("onnx", reason="the onnx extra is not installed")
pytest.importorskip("onnxruntime", reason="the onnx extra is not installed")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

SMALL = Preprocessing(size=16, resize=18)


class Net(nn.Module):
    """Strided convolution, depthwise convolution, tokens, two linear maps, a Gemm."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, stride=2, padding=(1, 0))
        self.depth = nn.Conv2d(4, 4, 3, groups=4, dilation=2, padding=2)
        self.query = nn.Linear(4, 5)
        self.key = nn.Linear(4, 6)
        self.head = nn.Linear(5, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.depth(torch.relu(self.conv(x)))
        tokens = x.flatten(2).transpose(1, 2)
        self.key(tokens)
        return self.head(self.query(tokens).mean(1))


def torch_net() -> Net:
    generator = torch.Generator().manual_seed(7)
    net = Net()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return net.eval()


def node(op: str, inputs: list[str], output: str, name: str = "", **attributes: Any) -> Any:
    return helper.make_node(op, inputs, [output], name=name, **attributes)


def write(
    path: Path,
    nodes: list[Any],
    constants: dict[str, np.ndarray],
    outputs: list[str],
    shape: tuple[Any, ...] = ("batch", 3, 16, 16),
    inputs: int = 1,
) -> Path:
    def value(name: str, dims: Any) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, dims)

    graph = helper.make_graph(
        nodes,
        "graph",
        [value("x" if i == 0 else f"x{i}", shape) for i in range(inputs)],
        [value(name, None) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 7
    onnx.save(model, str(path))
    return path


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    """The network as an exporter would write it, node by node."""
    net = torch_net()
    state = {name: value.numpy() for name, value in net.state_dict().items()}
    constants = {
        "conv.weight": state["conv.weight"],
        "conv.bias": state["conv.bias"],
        "depth.weight": state["depth.weight"],
        "depth.bias": state["depth.bias"],
        "onnx::MatMul_1": np.ascontiguousarray(state["query.weight"].T),
        "query.bias": state["query.bias"],
        "onnx::MatMul_2": np.ascontiguousarray(state["key.weight"].T),
        "head.weight": state["head.weight"],
        "head.bias": state["head.bias"],
        "shape": np.array([0, 4, -1]),
    }
    nodes = [
        node(
            "Conv",
            ["x", "conv.weight", "conv.bias"],
            "c",
            "/conv/Conv",
            strides=[2, 2],
            pads=[1, 0, 1, 0],
        ),
        node("Relu", ["c"], "r", "/Relu"),
        node(
            "Conv",
            ["r", "depth.weight", "depth.bias"],
            "d",
            "/depth/Conv",
            dilations=[2, 2],
            pads=[2, 2, 2, 2],
            group=4,
        ),
        node("Reshape", ["d", "shape"], "flat", "/Reshape"),
        node("Transpose", ["flat"], "tokens", "/Transpose", perm=[0, 2, 1]),
        node("MatMul", ["tokens", "onnx::MatMul_1"], "q0", "/query/MatMul"),
        node("Add", ["q0", "query.bias"], "q", "/query/Add"),
        node("MatMul", ["tokens", "onnx::MatMul_2"], "k", "/key/MatMul"),
        node("MatMul", ["q", "flat"], "attention", "/MatMul"),
        node("ReduceMean", ["q"], "m", "/ReduceMean", axes=[1], keepdims=0),
        node("Gemm", ["m", "head.weight", "head.bias"], "out", "/head/Gemm", transB=1),
    ]
    return write(tmp_path / "net.onnx", nodes, constants, ["out", "attention", "k"])


def test_equal_to_torch(exported: Path, tmp_path: Path) -> None:
    calibration = small_calibration(tmp_path / "images")
    source = open_source(f"onnx:{exported}", preprocessing=SMALL)
    reference = TorchSource("torch", SMALL, "none", torch_net())
    assert source.layers() == reference.layers(), "attention without weights is no layer"
    names = [layer.name for layer in source.layers()]
    for ours, theirs in zip(
        capture_source(source, names, calibration),
        capture_source(reference, names, calibration),
        strict=True,
    ):
        assert ours.geometry == theirs.geometry
        assert (ours.rows, ours.heldout_rows) == (theirs.rows, theirs.heldout_rows)
        assert np.array_equal(ours.weights, theirs.weights)
        for mine, other in zip(
            ours.gram_blocks + ours.heldout_blocks,
            theirs.gram_blocks + theirs.heldout_blocks,
            strict=True,
        ):
            np.testing.assert_allclose(mine, other, rtol=1e-5, atol=1e-4 * np.abs(other).max())


def test_size_comes_from_the_graph_and_suffixes_resolve(exported: Path) -> None:
    source = open_onnx("net", exported)
    assert source.preprocessing == Preprocessing(size=16)
    assert source.fingerprint() == open_onnx("net", exported).fingerprint()
    with pytest.raises(CaptureError, match="net has no layer 'quary'; close: query"):
        source.resolve("quary")


@pytest.mark.parametrize("auto", ["SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET"])
@pytest.mark.parametrize(("kernel", "stride"), [((3, 3), (2, 2)), ((2, 4), (1, 3))])
def test_automatic_padding(
    auto: str, kernel: tuple[int, int], stride: tuple[int, int], tmp_path: Path
) -> None:
    import onnxruntime

    weight = np.random.default_rng(8).standard_normal((2, 3, *kernel)).astype(np.float32)
    convolution = node(
        "Conv", ["x", "w"], "y", auto_pad=auto, strides=list(stride), kernel_shape=list(kernel)
    )
    path = write(tmp_path / "c.onnx", [convolution], {"w": weight}, ["y"])
    calibration = small_calibration(tmp_path / "images")
    [layer] = capture_source(open_onnx("c", path, SMALL), ["w"], calibration)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    expected = np.zeros(2)
    for image in calibration.images:
        [out] = session.run(None, {"x": SMALL(image.open())[None]})
        expected += np.square(np.asarray(out, np.float64)).sum((0, 2, 3))
    w = layer.weights.astype(np.float64)
    energy = np.einsum("cn,nm,cm->c", w, layer.gram_blocks[0][0], w)
    np.testing.assert_allclose(energy, expected, rtol=1e-5)


def test_constant_nodes_identities_and_repeated_names(tmp_path: Path) -> None:
    w = np.eye(16, dtype=np.float32)
    constant = node("Constant", [], "w", value=numpy_helper.from_array(w, "w"))
    nodes = [
        constant,
        node("Identity", ["w"], "v"),
        node("MatMul", ["x", "v"], "a", "/fc/MatMul"),
        node("MatMul", ["a", "w"], "b", "/fc/MatMul_1"),
        node("MatMul", ["b", "w"], "c"),
        node("Gemm", ["flat", "w"], "e", alpha=2.0),
        node("MatMul", ["w", "x"], "d"),
    ]
    nodes.insert(5, node("Reshape", ["c", "shape"], "flat"))
    constants = {"shape": np.array([-1, 16])}
    path = write(tmp_path / "c.onnx", nodes, constants, ["c", "e", "d"])
    source = open_onnx("c", path, SMALL)
    assert [layer.name for layer in source.layers()] == ["fc", "fc.b", "w"]
    first, second, _ = capture_source(
        source, ["fc", "fc.b", "w"], small_calibration(tmp_path / "images")
    )
    assert np.array_equal(first.gram_blocks[0], second.gram_blocks[0])
    assert first.rows == 2 * 3 * 16


def test_branches_keep_what_they_use(tmp_path: Path) -> None:
    """A value used only inside an If must survive the pruning."""

    def branch(name: str, op: str) -> Any:
        out = helper.make_tensor_value_info(f"{name}_y", TensorProto.FLOAT, None)
        return helper.make_graph([node(op, ["pre"], f"{name}_y")], name, [], [out])

    nodes = [
        node("Relu", ["x"], "pre"),
        node("If", ["yes"], "z", then_branch=branch("t", "Neg"), else_branch=branch("e", "Abs")),
        node("MatMul", ["z", "w"], "y"),
        node("Abs", ["y"], "out"),
    ]
    constants = {"yes": np.array(True), "w": np.ones((16, 2), np.float32)}
    path = write(tmp_path / "if.onnx", nodes, constants, ["out"])
    calibration = small_calibration(tmp_path / "images")
    [layer] = capture_source(open_onnx("if", path, SMALL), ["w"], calibration)
    x = np.concatenate([SMALL(i.open()).reshape(-1, 16) for i in calibration.images])
    x = np.minimum(-x, 0).astype(np.float64)
    np.testing.assert_allclose(layer.gram_blocks[0][0], x.T @ x, rtol=1e-12)


def test_old_files_list_their_constants_as_inputs(tmp_path: Path) -> None:
    nodes = [
        node("MatMul", ["x", "w"], "y", "/fc/MatMul"),
        node("MatMul", ["y", "v"], "z", "/gc/MatMul"),
    ]
    eye = np.eye(16, dtype=np.float32)
    path = write(tmp_path / "o.onnx", nodes, {"w": eye, "v": 2 * eye}, ["z"])
    model = onnx.load(str(path))
    for name in ("w", "v"):
        value = helper.make_tensor_value_info(name, TensorProto.FLOAT, (16, 16))
        model.graph.input.append(value)
    model.ir_version = 3
    onnx.save(model, str(path))
    calibration = small_calibration(tmp_path / "images")
    source = open_onnx("o", path, SMALL)
    [alone] = capture_source(source, ["gc"], calibration)
    assert alone.weights[0, 0] == 2
    both = capture_source(source, ["fc", "gc"], calibration)
    for layer in both:
        assert np.array_equal(layer.gram_blocks[0], alone.gram_blocks[0])


def test_nan_activation_names_layer_and_image(tmp_path: Path) -> None:
    nodes = [node("Log", ["x"], "l"), node("MatMul", ["l", "w"], "y", "/fc/MatMul")]
    path = write(tmp_path / "n.onnx", nodes, {"w": np.ones((16, 2), np.float32)}, ["y"])
    with pytest.raises(CaptureError, match=r"'fc' sees NaN .* image_00\.png"):
        capture_source(open_onnx("n", path, SMALL), ["fc"], small_calibration(tmp_path / "images"))


def test_wrong_input_size_is_said(exported: Path, tmp_path: Path) -> None:
    source = open_onnx("net", exported, Preprocessing(size=20))
    with pytest.raises(CaptureError, match=r"net failed on image image_00.png"):
        capture_source(source, ["key"], small_calibration(tmp_path / "images"))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda p: p / "none.onnx", "there is no file"),
        (lambda p: (p / "b.onnx").write_bytes(b"\xff" * 50) and p / "b.onnx", "not a readable"),
        (lambda p: write(p / "a.onnx", [], {}, ["x"], ("n", 16, 16, 3)), r"batch, 3, side, side"),
        (lambda p: write(p / "a.onnx", [], {}, ["x"], ("n", 16)), r"batch, 3, side, side"),
        (lambda p: write(p / "a.onnx", [], {}, ["x"], inputs=2), r"2 inputs \(x, x1\)"),
    ],
)
def test_unusable_files(make: Callable[[Path], Path], words: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=words):
        open_source(f"onnx:{make(tmp_path)}")


def test_missing_packages_name_the_extra(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = open_onnx("net", exported)
    for package in ("onnxruntime", "onnx"):
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(SourceError, match=rf"needs {package}: pip install layerbounds\[onnx"):
            if package == "onnx":
                open_onnx("net", exported)
            else:
                capture_source(source, ["key"], small_calibration(tmp_path / "images"))


def test_the_reference_network_is_what_it_claims() -> None:
    net = torch_net()
    x = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    hidden = functional.conv2d(x, net.conv.weight, net.conv.bias, 2, (1, 0))
    assert net.conv(x).equal(hidden)
