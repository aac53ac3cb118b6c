"""Reading ONNX graphs: which nodes are layers, their weights, and the part that feeds them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from layers.dump.geometry import Geometry
from layers.errors import SourceError

# onnx.TensorProto element types that hold a network input.
FLOAT_TYPES = {1: np.float32, 10: np.float16, 11: np.float64}
OPERATORS = {"Conv": "conv2d", "Gemm": "linear", "MatMul": "linear"}


@dataclass(frozen=True, eq=False)
class OnnxLayer:
    """A node that multiplies an activation with constant weights.

    Attributes:
        kind: ``conv2d`` or ``linear``.
        weight_shape: (out, in / groups, kernel height, kernel width) or (out, in).
        input: name of the activation.
        weight: name of the constant.
        transposed: weights are stored (in, out).
        node: the ``onnx.NodeProto``.
    """

    kind: str
    weight_shape: tuple[int, ...]
    input: str
    weight: str
    transposed: bool
    node: Any

    def read(self, model: Any) -> tuple[Tensor, Callable[[tuple[int, ...]], Geometry]]:
        """The weights, (out, ...), and the geometry as a function of the input's shape."""
        from onnx import numpy_helper

        array = np.array(numpy_helper.to_array(_constants(model.graph)[self.weight]))
        array = np.ascontiguousarray(array.T) if self.transposed else array
        if self.kind == "linear":
            return torch.from_numpy(array), lambda _: Geometry("linear", self.weight_shape)
        geometry = partial(_conv_geometry, _attributes(self.node), self.weight_shape)
        return torch.from_numpy(array), geometry


def find_layers(model: Any) -> dict[str, OnnxLayer]:
    """The layers of a graph's top level, by name, in its order.

    Exporters name a node after its module, ``/encoder/fc1/MatMul``; the layer is then called
    ``encoder.fc1``. Nodes without such a name are called after their weights.
    """
    constants = _constants(model.graph)
    layers: dict[str, OnnxLayer] = {}
    for node in model.graph.node:
        layer = _layer(node, constants)
        if layer is None:
            continue
        name = _layer_name(node)
        # Two nodes of one module, or two without names: tell them apart.
        name = name if name not in layers else f"{name}.{node.output[0].strip('/')}"
        layers[name] = layer
    return layers


def graph_input(graph: Any, name: str) -> tuple[str, type, int | None]:
    """Name, numpy type and side length (None if free) of the single image input.

    Raises:
        SourceError: several inputs, or not (batch, 3, side, side) of a float type.
    """
    initial = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in initial]
    if len(inputs) != 1:
        names = ", ".join(value.name for value in inputs)
        raise SourceError(f"{name}: {len(inputs)} inputs ({names}); only one image input is known")
    tensor = inputs[0].type.tensor_type
    # dim_value is 0 where the length is free or symbolic.
    shape = [dim.dim_value for dim in tensor.shape.dim]
    square = len(shape) == 4 and shape[2] == shape[3]
    if not square or shape[1] not in (0, 3) or tensor.elem_type not in FLOAT_TYPES:
        raise SourceError(
            f"{name}: input {inputs[0].name} has shape {shape} and type {tensor.elem_type}; "
            "a float input (batch, 3, side, side) is needed"
        )
    return inputs[0].name, FLOAT_TYPES[tensor.elem_type], shape[2] or None


def subgraph(model: Any, outputs: Sequence[str]) -> Any:
    """A new model with these values as outputs and only the nodes and weights they need."""
    import onnx

    graph = model.graph
    needed = set(outputs)
    kept = []
    for node in reversed(graph.node):  # nodes are stored in topological order
        if needed.intersection(node.output):
            kept.append(node)
            needed.update(_uses(node))
    small = onnx.ModelProto(ir_version=model.ir_version)
    small.opset_import.extend(model.opset_import)
    small.functions.extend(model.functions)
    small.graph.name = graph.name
    small.graph.node.extend(reversed(kept))
    # Old files list constants among the inputs; one without its value would have to be fed.
    dropped = {t.name for t in graph.initializer} - needed
    small.graph.input.extend(value for value in graph.input if value.name not in dropped)
    small.graph.initializer.extend(t for t in graph.initializer if t.name in needed)
    small.graph.sparse_initializer.extend(graph.sparse_initializer)
    # No type: onnxruntime infers it.
    small.graph.output.extend(onnx.ValueInfoProto(name=value) for value in outputs)
    return small


def _uses(node: Any) -> Iterator[str]:
    """Values a node reads, in its branches and loop bodies too."""
    yield from node.input
    for attribute in node.attribute:
        for inner in [attribute.g, *attribute.graphs]:
            for child in inner.node:
                yield from _uses(child)
            # A branch may hand an outer value through without any node.
            yield from (value.name for value in inner.output)


def _constants(graph: Any) -> dict[str, Any]:
    """Initializers and the values of Constant nodes, as ``onnx.TensorProto``."""
    found = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and "value" in (attributes := _attributes(node)):
            found[node.output[0]] = attributes["value"]
        elif node.op_type == "Identity" and node.input[0] in found:
            found[node.output[0]] = found[node.input[0]]
    return found


def _layer(node: Any, constants: dict[str, Any]) -> OnnxLayer | None:
    """The layer a node is, if it is one."""
    kind = OPERATORS.get(node.op_type)
    if kind is None or node.domain not in ("", "ai.onnx") or node.input[1] not in constants:
        return None
    tensor = constants[node.input[1]]
    shape = tuple(tensor.dims)
    attributes = _attributes(node)
    if tensor.data_type not in FLOAT_TYPES or len(shape) != (4 if kind == "conv2d" else 2):
        return None
    transposed = False
    if kind == "linear":
        if node.op_type == "Gemm" and (
            attributes.get("transA", 0) or attributes.get("alpha", 1.0) != 1.0
        ):
            return None
        transposed = not attributes.get("transB", 0)
        shape = shape[::-1] if transposed else shape
    if node.input[0] in constants:
        return None
    return OnnxLayer(kind, shape, node.input[0], node.input[1], transposed, node)


def _layer_name(node: Any) -> str:
    """A dotted name, as the module would have in torch."""
    parts = [part for part in node.name.split("/") if part]
    if len(parts) > 1 and parts[-1].split("_")[0] == node.op_type:
        return ".".join(parts[:-1])
    if parts:
        return ".".join(parts)
    return node.input[1].removesuffix(".weight").strip("/").replace("/", ".")


def _conv_geometry(
    attributes: dict[str, Any], shape: tuple[int, ...], x_shape: tuple[int, ...]
) -> Geometry:
    """The geometry of a Conv node; automatic padding depends on the input's size."""
    stride = tuple(attributes.get("strides", (1, 1)))
    dilation = tuple(attributes.get("dilations", (1, 1)))
    top, left, bottom, right = attributes.get("pads", (0, 0, 0, 0))
    auto = attributes.get("auto_pad", b"NOTSET").decode()
    if auto.startswith("SAME"):
        first: list[int] = []
        last: list[int] = []
        for i in range(2):
            side, reach = x_shape[2 + i], dilation[i] * (shape[2 + i] - 1) + 1
            total = max((-(-side // stride[i]) - 1) * stride[i] + reach - side, 0)
            small, large = total // 2, total - total // 2
            first.append(small if auto == "SAME_UPPER" else large)
            last.append(large if auto == "SAME_UPPER" else small)
        (top, left), (bottom, right) = first, last
    padding = (int(top), int(bottom), int(left), int(right))
    return Geometry("conv2d", shape, stride, padding, dilation, int(attributes.get("group", 1)))


def _attributes(node: Any) -> dict[str, Any]:
    """A node's attributes as Python values."""
    from onnx import helper

    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
