"""A torch module as a source: its layers, its fingerprint, and watching it run."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.parameter import is_lazy
from torch.overrides import TorchFunctionMode

from layers.dump.geometry import Geometry, conv2d_geometry
from layers.errors import CaptureError
from layers.networks.source import Collector, LayerInfo, Source

SUPPORTED = (nn.Conv2d, nn.Linear)
# A source may be one bare layer, whose name in torch is the empty string.
ROOT = "root"


@dataclass(frozen=True, eq=False)
class TorchSource(Source):
    """A torch module in evaluation mode.

    Attributes:
        module: the network; called with (1, 3, height, width) in its own dtype and device.
    """

    module: nn.Module = field(repr=False)

    def layers(self) -> list[LayerInfo]:
        """Every Conv2d and Linear, subclasses included; a shared one under its first name."""
        return [
            LayerInfo(name or ROOT, _kind(module), tuple(module.weight.shape))
            for name, module in self.module.named_modules()
            if isinstance(module, SUPPORTED) and not is_lazy(module.weight)
        ]

    def resolve(self, wanted: str) -> str:
        """As ``Source.resolve``; also says when a layer exists but is of another kind."""
        modules = dict(self.module.named_modules(remove_duplicate=False))
        found = modules.get(wanted)
        if found is not None and wanted and not isinstance(found, SUPPORTED):
            inside = f"{wanted}." if any(found.children()) else ""
            mend = f"; name a layer inside it, {inside}..." if inside else ""
            raise CaptureError(
                f"layer {wanted!r} of {self.name} is a {type(found).__name__}; "
                f"only Conv2d and Linear can be captured{mend}"
            )
        if isinstance(found, SUPPORTED) and wanted:
            return wanted
        return super().resolve(wanted)

    def fingerprint(self) -> str:
        """sha256 over the module's structure and every parameter and buffer."""
        return fingerprint(self.module)

    @contextmanager
    def runner(
        self, names: Sequence[str], collector: Collector
    ) -> Iterator[Callable[[np.ndarray], None]]:
        """As ``Source.runner``; each layer must fire exactly once per input."""
        modules = dict(self.module.named_modules(remove_duplicate=False)) | {ROOT: self.module}
        watched = {name: modules[name] for name in names}
        recorder = _Recorder(collector, {module: name for name, module in watched.items()})
        reference = next(
            (p for p in self.module.parameters() if p.is_floating_point()), torch.zeros(0)
        )

        def run(array: np.ndarray) -> None:
            recorder.reset()
            x = torch.from_numpy(array).unsqueeze(0)
            with torch.no_grad(), recorder:
                self.module(x.to(reference.device, reference.dtype))
            for name, module in watched.items():
                try:
                    recorder.check(name, module, collector.image)
                except CaptureError as error:
                    collector.fail(name, error)

        with ExitStack() as stack:
            stack.callback(_restore_modes, {m: m.training for m in self.module.modules()})
            self.module.eval()
            # Children too: what a wrapped layer (LoRA) calls inside must not count as its own.
            inner = dict.fromkeys(m for module in watched.values() for m in module.modules())
            for module in inner:
                stack.callback(module.register_forward_pre_hook(recorder.enter).remove)
                hook = module.register_forward_hook(recorder.leave, always_call=True)
                stack.callback(hook.remove)
            yield run


def fingerprint(module: nn.Module) -> str:
    """sha256 over a module's structure and every parameter and buffer."""
    digest = hashlib.sha256(repr(module).encode())
    for name, value in module.state_dict().items():
        if not isinstance(value, Tensor):
            continue
        flat = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(flat.numpy().data)
    return digest.hexdigest()


class _Recorder(TorchFunctionMode):
    """Sees every ``F.conv2d`` and ``F.linear`` while one of the watched modules is running.

    The function call, not the module's input, is what counts: a module may pad its input first
    (reflection, its own 'same'), or compute its weights.
    """

    def __init__(self, collector: Collector, watched: dict[nn.Module, str]) -> None:
        super().__init__()
        self.collector = collector
        self.watched = watched
        self.running: list[nn.Module] = []
        self.fired: Counter[nn.Module] = Counter()
        self.calls: Counter[nn.Module] = Counter()

    def reset(self) -> None:
        self.running.clear()
        self.fired.clear()
        self.calls.clear()

    def enter(self, module: nn.Module, _inputs: Any) -> None:
        self.running.append(module)
        self.fired[module] += 1

    def leave(self, _module: nn.Module, _inputs: Any, _output: Any) -> None:
        if self.running:
            self.running.pop()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        module = self.running[-1] if self.running else None
        if module in self.watched and func in (functional.conv2d, functional.linear):
            self.calls[module] += 1
            # A second call is an error already; do not spend time on its Gram.
            if self.calls[module] == 1 and self.fired[module] == 1:
                read = _conv2d_call if func is functional.conv2d else _linear_call
                self.collector.observe(self.watched[module], *read(*args, **kwargs))
        return func(*args, **kwargs)

    def check(self, name: str, module: nn.Module, image: str) -> None:
        """Raise unless the module ran once and called its function once."""
        fired, calls = self.fired[module], self.calls[module]
        kind = type(module).__name__
        if fired == 0:
            raise CaptureError(
                f"layer {name!r} never fired for image {image}: the network does not call this "
                "module (a fused attention layer, or an unused branch); capture another layer"
            )
        if fired > 1:
            raise CaptureError(
                f"layer {name!r} fired {fired} times for image {image}: its weights are shared by "
                "several places of the network, which have no single Gram; capture another layer"
            )
        if calls != 1:
            raise CaptureError(
                f"layer {name!r}, a {kind}, called F.conv2d or F.linear {calls} times in one "
                "forward instead of once, so it is not a plain layer; capture another layer"
            )


def _conv2d_call(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> tuple[Tensor, Tensor, Geometry]:
    """Read the arguments of ``F.conv2d``, by position or by name."""
    shape = tuple(weight.shape)
    return input, weight, conv2d_geometry(shape, stride, padding, dilation, groups)


def _linear_call(
    input: Tensor, weight: Tensor, bias: Tensor | None = None
) -> tuple[Tensor, Tensor, Geometry]:
    """Read the arguments of ``F.linear``, by position or by name."""
    return input, weight, Geometry("linear", tuple(weight.shape))


def _kind(module: nn.Module) -> str:
    return "conv2d" if isinstance(module, nn.Conv2d) else "linear"


def _restore_modes(modes: dict[nn.Module, bool]) -> None:
    """Training or evaluation, as each submodule was."""
    for module, training in modes.items():
        module.training = training
