"""Quantize the layers of a folder of dumps to 4 bits with tools of others, to be judged.

Usage: ``python -m tests.benchmarks.outside_tools DUMPS OUT TOOL...``; the tools are those of
``TOOLS``, each with the package it needs. Weights only: a network of Linear and Conv2d modules
with the dumps' names and weights is handed to the tool, and what the tool stores is written.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from layers.dump.file import read_dump
from layers.dump.layer import LayerDump

GROUP = 32


def network(dumps: list[LayerDump]) -> nn.Module:
    """Modules with the dumps' names and weights; its forward means nothing."""
    root = nn.Module()
    for dump in dumps:
        *path, last = dump.layer.split(".")
        parent = root
        for name in path:
            if not hasattr(parent, name):
                parent.add_module(name, nn.Module())
            parent = parent.get_submodule(name)
        parent.add_module(last, _module(dump))
    return root


def _module(dump: LayerDump) -> nn.Module:
    shape = dump.weight_shape
    if dump.kind == "linear":
        module: nn.Module = nn.Linear(shape[1], shape[0], bias=False)
    else:
        module = nn.Conv2d(
            shape[1] * dump.groups, shape[0], (shape[2], shape[3]), groups=dump.groups, bias=False
        )
    with torch.no_grad():
        module.get_parameter("weight").copy_(torch.from_numpy(dump.weights).reshape(shape))
    return module


def bitsandbytes_nf4(dumps: list[LayerDump], out: Path) -> None:
    """NF4 in blocks of 64, as ``Linear4bit`` stores it; convolutions flattened."""
    functional: Any = import_module("bitsandbytes.functional")
    tensors: dict[str, torch.Tensor] = {}
    for dump in dumps:
        w = torch.from_numpy(np.array(dump.weights))
        packed, state = functional.quantize_4bit(w, quant_type="nf4")
        tensors[f"{dump.layer}.weight"] = packed
        tensors |= {f"{dump.layer}.weight.{k}": t for k, t in state.as_dict(packed=True).items()}
    save_file(tensors, out)


def _quanto(dumps: list[LayerDump], out: Path, optimizer: str) -> None:
    quanto: Any = import_module("optimum.quanto")
    net = network(dumps)
    quanto.quantize(net, weights=quanto.qint4, optimizer=getattr(quanto, optimizer)())
    quanto.freeze(net)
    tensors = {
        f"{name}.weight": module.weight.dequantize().contiguous()
        for name, module in cast("dict[str, Any]", dict(net.named_modules())).items()
        if hasattr(module, "weight") and hasattr(module.weight, "dequantize")
    }
    save_file(tensors, out)


def quanto(dumps: list[LayerDump], out: Path) -> None:
    """optimum-quanto, qint4, its default."""
    _quanto(dumps, out, "MaxOptimizer")


def quanto_hqq(dumps: list[LayerDump], out: Path) -> None:
    """optimum-quanto with its HQQ optimizer."""
    _quanto(dumps, out, "HqqOptimizer")


def torchao(dumps: list[LayerDump], out: Path) -> None:
    """torchao, int4 weights only in groups of 32; Linear layers whose inputs are divided by it."""
    api: Any = import_module("torchao.quantization")
    granularity: Any = import_module("torchao.quantization.granularity")
    fitting = [d for d in dumps if d.features % GROUP == 0 and d.groups == 1]
    net = nn.Module()
    for dump in fitting:
        linear = nn.Linear(dump.features, dump.channels, bias=False)
        with torch.no_grad():
            linear.get_parameter("weight").copy_(torch.from_numpy(dump.weights))
        net.add_module(dump.layer.replace(".", "/"), linear)
    config = api.IntxWeightOnlyConfig(
        weight_dtype=getattr(torch, "int4"),  # noqa: B009
        granularity=granularity.PerGroup(GROUP),
    )
    api.quantize_(net, config)
    tensors = {
        f"{name.replace('/', '.')}.weight": module.weight.dequantize().detach().contiguous()
        for name, module in cast("dict[str, Any]", dict(net.named_children())).items()
    }
    save_file(tensors, out)


def gguf_q4_0(dumps: list[LayerDump], out: Path) -> None:
    """GGUF's Q4_0 by the quantizer of its package; layers whose inputs 32 divides."""
    gguf: Any = import_module("gguf")
    kind = gguf.GGMLQuantizationType.Q4_0
    writer = gguf.GGUFWriter(str(out), "layers")
    for dump in dumps:
        if dump.features % GROUP == 0:
            packed = gguf.quants.quantize(np.ascontiguousarray(dump.weights), kind)
            writer.add_tensor(f"{dump.layer}.weight", packed, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


#: Name -> what runs it, and the ending of its file.
TOOLS: dict[str, tuple[Callable[[list[LayerDump], Path], None], str]] = {
    "bitsandbytes-nf4": (bitsandbytes_nf4, "safetensors"),
    "quanto": (quanto, "safetensors"),
    "quanto-hqq": (quanto_hqq, "safetensors"),
    "torchao": (torchao, "safetensors"),
    "gguf-q4_0": (gguf_q4_0, "gguf"),
}


def main(folder: str, out: str, *names: str) -> None:
    """Write a checkpoint a tool into ``out``."""
    dumps = [read_dump(path) for path in sorted(Path(folder).glob("*.safetensors"))]
    Path(out).mkdir(parents=True, exist_ok=True)
    for name in names or TOOLS:
        run, ending = TOOLS[name]
        path = Path(out) / f"{name}.{ending}"
        run(dumps, path)
        print(path)


if __name__ == "__main__":
    main(*sys.argv[1:])
