"""Watching a torch module run: what each of its layers is called with."""

from __future__ import annotations

import inspect
from collections import Counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from layers.dump.geometry import Geometry
from layers.errors import CaptureError
from layers.networks.kinds import reader
from layers.networks.source import Collector

IN_PROJECTION, OUT_PROJECTION = "in_proj", "out_proj"
_ATTENTION = functional.multi_head_attention_forward
_ATTENTION_ARGUMENTS = inspect.signature(_ATTENTION)


class Recorder(TorchFunctionMode):
    """Sees every call of a layer's function while one of the watched modules is running.

    The function call, not the module's input, is what counts: a module may pad its input first
    (reflection, its own 'same'), or compute its weights. torch's attention calls one function for
    all its projections, whose inputs are found in there.
    """

    def __init__(
        self,
        collector: Collector,
        watched: dict[nn.Module, str],
        attention: dict[nn.Module, dict[str, str]],
    ) -> None:
        """Watch modules, and projections of attention: part (of the two above) -> layer name."""
        super().__init__()
        self.collector = collector
        self.watched = watched
        self.attention = attention
        self.running: list[nn.Module] = []
        self.fired: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()

    def reset(self) -> None:
        """Forget the last input."""
        self.running.clear()
        self.fired.clear()
        self.calls.clear()

    def enter(self, module: nn.Module, _inputs: Any) -> None:
        """Hook before a module's forward."""
        self.running.append(module)
        if module in self.watched:
            self.fired[self.watched[module]] += 1

    def leave(self, _module: nn.Module, _inputs: Any, _output: Any) -> None:
        """Hook after a module's forward."""
        if self.running:
            self.running.pop()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Look at the call, then let it happen."""
        kwargs = kwargs or {}
        module = self.running[-1] if self.running else None
        if module is not None and func is _ATTENTION and module in self.attention:
            self._attend(self.attention[module], args, kwargs)
        elif module in self.watched and module is not None:
            read, name = reader(func, module), self.watched[module]
            if read is not None:
                self.calls[name] += 1
                # A second call is an error already; do not spend time on its Gram.
                if self.calls[name] == 1 and self.fired[name] == 1:
                    self.collector.observe(name, *read(*args, **kwargs))
        return func(*args, **kwargs)

    def _attend(self, names: dict[str, str], args: Any, kwargs: Any) -> None:
        given = _ATTENTION_ARGUMENTS.bind(*args, **kwargs)
        asked = given.arguments
        for name in names.values():
            self.fired[name] += 1
            self.calls[name] += 1
        first = {part: name for part, name in names.items() if self.fired[name] == 1}
        if (name := first.get(IN_PROJECTION)) is not None:
            query, weight = asked["query"], asked["in_proj_weight"]
            if not (query is asked["key"] and query is asked["value"]):
                error = (
                    f"layer {name!r} projects three different inputs (cross-attention), which have "
                    "no single Gram; capture another layer"
                )
                self.collector.fail(name, CaptureError(error))
            else:
                self.collector.observe(name, query, weight, _linear(weight))
        if (name := first.get(OUT_PROJECTION)) is not None:
            weight = asked["out_proj_weight"]
            # Projected by the identity, attention shows what its output projection is given.
            asked["out_proj_weight"] = torch.eye(
                weight.shape[1], dtype=weight.dtype, device=weight.device
            )
            asked["out_proj_bias"] = None
            inner = _ATTENTION(*given.args, **given.kwargs)[0]
            self.collector.observe(name, inner, weight, _linear(weight))

    def check(self, name: str, kind: str, batch: str, everywhere: bool) -> None:
        """Raise unless the layer ran once and called its function once.

        ``everywhere``: it has to run on every input; else (experts that are chosen) none is fine.
        """
        fired, calls = self.fired[name], self.calls[name]
        if fired == 0 and not everywhere:
            return
        if fired == 0:
            raise CaptureError(
                f"layer {name!r} never fired for image {batch}: the network does not call this "
                "module (a fused attention layer, or an unused branch); capture another layer"
            )
        if fired > 1:
            raise CaptureError(
                f"layer {name!r} fired {fired} times for {batch}: its weights are shared by "
                "several places of the network, which have no single Gram; capture another layer"
            )
        if calls != 1:
            raise CaptureError(
                f"layer {name!r}, a {kind}, called F.conv2d or F.linear {calls} times in one "
                "forward instead of once, so it is not a plain layer; capture another layer"
            )


def _linear(weight: Tensor) -> Geometry:
    return Geometry("linear", tuple(weight.shape))
