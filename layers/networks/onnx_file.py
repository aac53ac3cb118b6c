"""An ONNX graph as a source: its Conv, Gemm and MatMul nodes with constant weights."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from layers.errors import CaptureError, SourceError
from layers.images.preprocessing import Preprocessing
from layers.networks.onnx_graph import OnnxLayer, find_layers, graph_input, subgraph
from layers.networks.source import Collector, LayerInfo, Source


@dataclass(frozen=True, eq=False)
class OnnxSource(Source):
    """An ONNX graph, run by onnxruntime on one thread.

    Attributes:
        model: the parsed ``onnx.ModelProto``, weights included.
        table: the layers that can be captured, by name.
    """

    model: Any = field(repr=False)
    table: dict[str, OnnxLayer] = field(repr=False)

    def layers(self) -> list[LayerInfo]:
        """Conv, Gemm and MatMul nodes with constant weights, in the graph's order."""
        return [
            LayerInfo(name, layer.kind, layer.weight_shape) for name, layer in self.table.items()
        ]

    def fingerprint(self) -> str:
        """sha256 over the serialised graph."""
        return hashlib.sha256(self.model.SerializeToString(deterministic=True)).hexdigest()

    @contextmanager
    def runner(
        self, names: Sequence[str], collector: Collector
    ) -> Iterator[Callable[[np.ndarray], None]]:
        """As ``Source.runner``: only the part of the graph that feeds the layers is run."""
        chosen = {name: self.table[name] for name in names}
        calls = {}
        for name, layer in chosen.items():
            try:
                calls[name] = layer.read(self.model)
            except CaptureError as error:
                collector.fail(name, error)
        fed, dtype, _ = graph_input(self.model.graph, self.name)
        # query, key and value share one input: ask for it once. The graph's own input is at hand.
        wanted = list(dict.fromkeys(layer.input for layer in chosen.values()))
        computed = [value for value in wanted if value != fed]
        session = _session(subgraph(self.model, computed), self.name) if computed else None

        def run(array: np.ndarray) -> None:
            if not isinstance(array, np.ndarray):
                raise CaptureError(f"{self.name} is an ONNX graph, which is given images only")
            feed = np.ascontiguousarray(array[None], dtype=dtype)
            values = {fed: feed}
            if session is not None:
                try:
                    outputs = session.run(computed, {fed: feed})
                except Exception as error:  # onnxruntime has no public base class
                    raise CaptureError(
                        f"{self.name} failed on image {collector.image} "
                        f"with input {feed.shape}: {error}"
                    ) from error
                values |= dict(zip(computed, outputs, strict=True))
            for name, (weight, geometry_of) in calls.items():
                x = torch.from_numpy(np.array(values[chosen[name].input]))
                collector.observe(name, x, weight, geometry_of(tuple(x.shape)))

        yield run


def open_onnx(
    name: str,
    path: str | Path,
    preprocessing: Preprocessing | None = None,
    licence: str = "unknown: that of the file's author",
) -> OnnxSource:
    """Open an ONNX file.

    Args:
        name: of the source.
        path: the file; external weights are looked for beside it.
        preprocessing: how images become inputs; by default the input's own size (224 if it is
            free) with ImageNet's mean and standard deviation.
        licence: of the weights.

    Raises:
        SourceError: onnx is not installed, or the file is missing, broken or not for images.
    """
    onnx = _import("onnx", name)
    if not Path(path).is_file():
        raise SourceError(f"{name}: there is no file {path}")
    try:
        model = onnx.load(str(path))
    except Exception as error:  # protobuf and onnx raise many types for damaged files
        raise SourceError(f"{name}: {path} is not a readable ONNX file: {error}") from error
    _, _, size = graph_input(model.graph, name)
    own = preprocessing or Preprocessing(size=size or 224)
    return OnnxSource(name, own, licence, model, find_layers(model))


def _session(model: Any, name: str) -> Any:
    """An onnxruntime session whose results do not depend on the number of cores."""
    runtime = _import("onnxruntime", name)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.execution_mode = runtime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3
    try:
        return runtime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # onnxruntime has no public base class
        raise SourceError(f"{name}: onnxruntime refuses the graph: {error}") from error


def _import(package: str, name: str) -> Any:
    """Import an optional package."""
    try:
        return __import__(package)
    except ImportError as error:
        raise SourceError(
            f"{name} is an ONNX graph and needs {package}: pip install layerbounds[onnx]"
        ) from error
