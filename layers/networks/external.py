"""Networks from torchvision, timm, or a function of the user's own."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from layers.errors import LayerboundsError, SourceError
from layers.images.preprocessing import INTERPOLATIONS, Preprocessing
from layers.networks.batches import make_batches
from layers.networks.checkpoint import load_into, load_state
from layers.networks.torch_module import TorchSource


def open_torchvision(rest: str, preprocessing: Preprocessing | None) -> TorchSource:
    """A torchvision model.

    Args:
        rest: ``NAME``, with its default weights from torchvision's cache (which downloads them
            once), or ``NAME@CHECKPOINT``.
        preprocessing: instead of that of its default weights.

    Raises:
        SourceError: torchvision does not import, or model or weights cannot be had.
    """
    models: Any = _library("torchvision.models", "torchvision")
    model_name, path = _split(rest)
    try:
        network = models.get_model(model_name, weights=None)
        weights = models.get_model_weights(model_name).DEFAULT
        # weights_only, which older torch does not use by itself.
        state = (
            load_state(path)
            if path
            else weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
        )
        preset = weights.transforms()
    except LayerboundsError:
        raise
    except Exception as error:
        raise SourceError(_cannot("torchvision", model_name, error)) from error
    load_into(network, state, path or f"torchvision:{model_name}")
    own = preprocessing or _torchvision_preset(preset)
    licence = "that of torchvision's weights, see its documentation"
    return TorchSource(f"torchvision:{rest}", own, licence, network.eval())


def open_timm(rest: str, preprocessing: Preprocessing | None) -> TorchSource:
    """A timm model.

    Args:
        rest: ``NAME``, with its pretrained weights from timm's cache (which downloads them
            once), or ``NAME@CHECKPOINT``.
        preprocessing: instead of the model's own.

    Raises:
        SourceError: timm does not import, or model or weights cannot be had.
    """
    timm: Any = _library("timm", "timm")
    model_name, path = _split(rest)
    try:
        network = timm.create_model(model_name, pretrained=path is None)
        config = importlib.import_module("timm.data").resolve_model_data_config(network)
    except Exception as error:
        raise SourceError(_cannot("timm", model_name, error)) from error
    if path is not None:
        load_into(network, load_state(path), path)
    own = preprocessing or _timm_preset(config)
    licence = "that of timm's weights, see the model card"
    return TorchSource(f"timm:{rest}", own, licence, network.eval())


def open_function(
    module_name: str, function_name: str, preprocessing: Preprocessing | None
) -> TorchSource:
    """Anybody's own network.

    Args:
        module_name: importable, also from the working folder.
        function_name: a function without arguments that returns an ``nn.Module``; or a pair of
            it and a ``Preprocessing``, a function of a PIL image, or an iterable of batches, each
            what its forward takes; or these with a second iterable of batches, held out.
        preprocessing: instead of the returned one.

    Raises:
        SourceError: it does not import, is no function, fails, or returns something else.
    """
    name = f"{module_name}:{function_name}"
    result = call_function(module_name, function_name)
    several = isinstance(result, tuple) and len(result) in (2, 3)
    parts: tuple[Any, ...] = result if isinstance(result, tuple) and several else (result, None)
    network, own, *held = parts
    if not isinstance(network, nn.Module):
        raise SourceError(
            f"{name} returned a {type(network).__name__}; it must return an nn.Module, "
            "or a pair of it and its preprocessing or its batches"
        )
    if (isinstance(own, Iterable) and not isinstance(own, str)) or held:
        batches = make_batches(own if own is not None else (), *held)
        return TorchSource(name, Preprocessing(), "your own", network.eval(), batches=batches)
    if callable(own) and not isinstance(own, Preprocessing):
        own = Preprocessing(function=own)
    if own is not None and not isinstance(own, Preprocessing):
        raise SourceError(
            f"{name}: the preprocessing is a {type(own).__name__}; return a "
            "layers.Preprocessing, a function of a PIL image, or an iterable of batches"
        )
    return TorchSource(name, preprocessing or own or Preprocessing(), "your own", network.eval())


def call_function(module_name: str, function_name: str) -> Any:
    """What a function of the user's own, without arguments, returns.

    Raises:
        SourceError: it does not import, is no function, or fails.
    """
    name = f"{module_name}:{function_name}"
    function = getattr(_user_module(module_name, name), function_name, None)
    if not callable(function):
        raise SourceError(f"{name}: the module has no function {function_name!r}")
    try:
        return function()
    except LayerboundsError:
        raise
    except Exception as error:
        raise SourceError(f"{name} failed with {type(error).__name__}: {error}") from error


def _split(rest: str) -> tuple[str, Path | None]:
    """``NAME@CHECKPOINT`` -> its parts."""
    name, at, path = rest.partition("@")
    if at and not path:
        raise SourceError(f"{rest!r} names no checkpoint after the @")
    return name, Path(path) if at else None


def _library(module: str, package: str) -> ModuleType:
    """Import an optional library, whatever way it fails."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name not in (module, package):
            raise SourceError(f"{package} does not import: {error}") from error
        raise SourceError(
            f"the package {package} is not installed: pip install {package} "
            "(a version that fits your torch)"
        ) from error
    # A torchvision built for another torch fails with RuntimeError, not ImportError.
    except Exception as error:
        raise SourceError(
            f"{package} does not import with this torch ({error}); install versions that fit"
        ) from error


def _user_module(module_name: str, name: str) -> ModuleType:
    """Import the user's module; console scripts do not see the working folder by themselves."""
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.append(folder)
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise SourceError(
            f"{name}: no module named {error.name!r}; looked in the installed packages and "
            f"in {folder}"
        ) from error
    except Exception as error:
        raise SourceError(
            f"{name}: the module does not import: {type(error).__name__}: {error}"
        ) from error


def _cannot(library: str, model: str, error: Exception) -> str:
    """The message when a library cannot give a model."""
    text = " ".join(str(error).split())[:300]
    return (
        f"{library}:{model} cannot be opened ({type(error).__name__}: {text}); check the name, "
        f"or give a checkpoint file, {library}:{model}@FILE"
    )


def _torchvision_preset(preset: Any) -> Preprocessing:
    """torchvision's preset for classification as ours; any other is called as it is."""
    try:
        return Preprocessing(
            size=int(preset.crop_size[0]),
            resize=int(preset.resize_size[0]),
            mean=tuple(preset.mean),
            std=tuple(preset.std),
            interpolation=_interpolation(preset.interpolation.value),
        )
    except (AttributeError, TypeError, IndexError):
        return Preprocessing(function=preset)


def _timm_preset(config: dict[str, Any]) -> Preprocessing:
    """timm's data configuration as ours."""
    size = int(config["input_size"][-1])
    return Preprocessing(
        size=size,
        resize=max(size, int(size / float(config.get("crop_pct", 0.875)))),
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        interpolation=_interpolation(str(config.get("interpolation", "bicubic"))),
    )


def _interpolation(name: str) -> str:
    """A known interpolation, bicubic for timm's 'random'."""
    return name if name in INTERPOLATIONS else "bicubic"
