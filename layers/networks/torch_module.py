"""A torch module as a source: its layers, its fingerprint, and watching it run."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from layers.errors import CaptureError, LayerboundsError
from layers.networks.kinds import CAPTURED, attention_shape, layer_shape, why_not
from layers.networks.recorder import IN_PROJECTION, OUT_PROJECTION, Recorder
from layers.networks.source import Collector, LayerInfo, Source

# A source may be one bare layer, whose name in torch is the empty string.
ROOT = "root"


@dataclass(frozen=True, eq=False)
class TorchSource(Source):
    """A torch module in evaluation mode.

    Attributes:
        module: the network; called with (1, 3, height, width) in its own dtype and device, or with
            what a batch holds.
    """

    module: nn.Module = field(repr=False)

    def layers(self) -> list[LayerInfo]:
        """Every layer that can be captured; a shared one under its first name.

        Subclasses included. The joint input projection of torch's attention goes by the name of
        its module and ``in_proj``.
        """
        found = []
        for name, module in self.module.named_modules():
            if (shape := attention_shape(module)) is not None:
                found.append(LayerInfo(_inside(name, IN_PROJECTION), "linear", shape))
            elif (known := layer_shape(module)) is not None:
                found.append(LayerInfo(name or ROOT, *known))
        return found

    def unsupported(self) -> dict[str, str]:
        """Modules with weights that cannot be captured, and what they are."""
        reasons = ((name or ROOT, why_not(module)) for name, module in self.module.named_modules())
        return {name: why for name, why in reasons if why is not None}

    def resolve(self, wanted: str) -> str:
        """As ``Source.resolve``; also says when a layer exists but is of another kind."""
        modules = dict(self.module.named_modules(remove_duplicate=False))
        found = modules.get(wanted)
        if found is not None and wanted and layer_shape(found) is None:
            inside = f"{wanted}." if any(found.children()) else ""
            mend = f"; name a layer inside it, {inside}..." if inside else ""
            raise CaptureError(
                f"layer {wanted!r} of {self.name} is a {type(found).__name__}; "
                f"only {CAPTURED} can be captured{mend}"
            )
        if found is not None and wanted:
            return wanted
        return super().resolve(wanted)

    def fingerprint(self) -> str:
        """sha256 over the module's structure and every parameter and buffer."""
        return fingerprint(self.module)

    @contextmanager
    def runner(self, names: Sequence[str], collector: Collector) -> Iterator[Callable[[Any], None]]:
        """As ``Source.runner``; each layer must fire exactly once per input.

        On batches a layer may rest, as experts do that are not chosen.
        """
        modules = dict(self.module.named_modules(remove_duplicate=False)) | {ROOT: self.module}
        watched, attention = _watched(names, modules)
        recorder = Recorder(collector, watched, attention)
        kinds = {name: type(module).__name__ for module, name in watched.items()}
        kinds |= {
            name: type(module).__name__
            for module, parts in attention.items()
            for name in parts.values()
        }
        reference = next(
            (p for p in self.module.parameters() if p.is_floating_point()), torch.zeros(0)
        )

        def run(value: Any) -> None:
            recorder.reset()
            image = isinstance(value, np.ndarray)
            if image:
                x = torch.from_numpy(value).unsqueeze(0).to(reference.device, reference.dtype)
                with torch.no_grad(), recorder:
                    self.module(x)
            else:
                arguments, named = _arguments(_moved(value, reference.device))
                try:
                    with torch.no_grad(), recorder:
                        self.module(*arguments, **named)
                except LayerboundsError:
                    raise
                except Exception as error:  # whatever a network of anybody's may raise
                    raise CaptureError(
                        f"{self.name} fails on {collector.image} with {type(error).__name__}: "
                        f"{error}; a batch is what the network's forward takes: a tensor, a tuple "
                        "of arguments or a dict of named ones"
                    ) from error
            for name, kind in kinds.items():
                try:
                    recorder.check(name, kind, collector.image, everywhere=image)
                except CaptureError as error:
                    collector.fail(name, error)

        with ExitStack() as stack:
            stack.callback(_restore_modes, {m: m.training for m in self.module.modules()})
            self.module.eval()
            # Children too: what a wrapped layer (LoRA) calls inside must not count as its own.
            inner = dict.fromkeys(m for module in watched for m in module.modules())
            for module in inner | dict.fromkeys(attention):
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


def _inside(name: str, part: str) -> str:
    return f"{name}.{part}" if name else part


def _watched(
    names: Sequence[str], modules: Mapping[str, nn.Module]
) -> tuple[dict[nn.Module, str], dict[nn.Module, dict[str, str]]]:
    """Modules by their layer's name, and attention modules by the names of their projections."""
    watched: dict[nn.Module, str] = {}
    attention: dict[nn.Module, dict[str, str]] = {}
    for name in names:
        above, _, part = name.rpartition(".")
        parent = modules.get(above)
        if (
            part in (IN_PROJECTION, OUT_PROJECTION)
            and isinstance(parent, nn.MultiheadAttention)
            and type(parent).forward is nn.MultiheadAttention.forward
        ):
            attention.setdefault(parent, {})[part] = name
        else:
            watched[modules[name]] = name
    return watched, attention


def _arguments(value: Any) -> tuple[Sequence[Any], Mapping[str, Any]]:
    """Arguments by position and by name."""
    if isinstance(value, Mapping):
        return (), value
    return (value, {}) if isinstance(value, tuple | list) else ((value,), {})


def _moved(value: Any, device: torch.device) -> Any:
    """The batch with its tensors and arrays on a device; types stay as they are."""
    if isinstance(value, np.ndarray):
        value = torch.from_numpy(np.array(value))
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, Mapping):
        return {key: _moved(item, device) for key, item in value.items()}
    if isinstance(value, list | tuple) and not hasattr(value, "_fields"):
        return type(value)(_moved(item, device) for item in value)
    return value


def _restore_modes(modes: dict[nn.Module, bool]) -> None:
    """Training or evaluation, as each submodule was."""
    for module, training in modes.items():
        module.training = training
