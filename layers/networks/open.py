"""Networks by name. Nothing heavy is imported until a network is opened."""

from __future__ import annotations

from difflib import get_close_matches

from layers.errors import SourceError
from layers.images.preprocessing import Preprocessing
from layers.networks.source import Source

# Bundled name -> what it is; built in layers.networks.bundled.
BUNDLED_SOURCES = {
    "efficientnet-lite0": "EfficientNet-lite0, ImageNet (Apache-2.0)",
    "mobilenet-v2": "MobileNet-V2 without head (MIT)",
    "vit-s14": "ViT-S/14, DINOv2 layout, an ONNX graph (MIT)",
    "resnet18": "ResNet-18 backbone (licence unclear: used only when named)",
}
PREFIXES = {
    "torchvision:NAME": "a torchvision model, weights from its cache or NAME@CHECKPOINT",
    "timm:NAME": "a timm model, weights from its cache or NAME@CHECKPOINT",
    "onnx:FILE": "an ONNX graph",
    "finetuned:RUN": "a network that `layerbounds finetune` trained; RUN is its folder",
    "hf:FOLDER@TEXT": "a transformers model on disk, and a text file to calibrate with",
    "MODULE:FUNCTION": "your own: a function that returns a torch module, (module, preprocessing) "
    "or (module, batches)",
}


def source_names() -> dict[str, str]:
    """Every name ``open_source`` understands, with one line on each."""
    return BUNDLED_SOURCES | PREFIXES


def is_source_name(name: str) -> bool:
    """Whether ``open_source`` knows what ``name`` asks for; not whether it is there."""
    prefix, _, rest = name.partition(":")
    return name in BUNDLED_SOURCES or bool(prefix and rest)


def open_source(name: str, *, preprocessing: Preprocessing | None = None) -> Source:
    """Open a network by name.

    Args:
        name: ``efficientnet-lite0``, ``mobilenet-v2``, ``vit-s14``, ``resnet18``,
            ``torchvision:NAME``, ``timm:NAME`` (both also ``NAME@CHECKPOINT``, a safetensors or
            torch file), ``onnx:FILE``, ``hf:FOLDER@TEXT``, ``finetuned:RUN`` (a run's
            folder), or ``module:function`` for any function that returns an ``nn.Module``,
            ``(nn.Module, preprocessing)`` with a ``Preprocessing`` or a function of a PIL image, or
            ``(nn.Module, batches)`` with what its forward takes. Modules are also looked for in the
            working folder.
        preprocessing: instead of the network's own; own networks and ONNX graphs without one
            get ImageNet's mean and standard deviation.

    Raises:
        SourceError: unknown name (the message lists the names), missing package (it says what
            to install), unreadable checkpoint, or pickled code in one (refused).
    """
    if not is_source_name(name):
        raise SourceError(_unknown(name))
    if name in BUNDLED_SOURCES:
        from layers.networks.bundled import open_bundled

        return open_bundled(name, preprocessing)
    prefix, _, rest = name.partition(":")
    if prefix == "onnx":
        from layers.networks.onnx_file import open_onnx

        return open_onnx(name, rest, preprocessing)
    if prefix == "finetuned":
        from layers.networks.finetuned import read_trained, with_weights

        trained = read_trained(rest)
        return with_weights(name, open_source(trained.source, preprocessing=preprocessing), trained)
    if prefix == "hf":
        from layers.networks.huggingface import open_huggingface

        return open_huggingface(rest)
    from layers.networks import external

    if prefix == "torchvision":
        return external.open_torchvision(rest, preprocessing)
    if prefix == "timm":
        return external.open_timm(rest, preprocessing)
    return external.open_function(prefix, rest, preprocessing)


def _unknown(name: str) -> str:
    """The message for a name that is nothing we know."""
    close = get_close_matches(name, BUNDLED_SOURCES, n=1)
    guess = f"did you mean {close[0]!r}? " if close else ""
    known = "; ".join(f"{key} ({text})" for key, text in source_names().items())
    return f"unknown source {name!r}: {guess}known are: {known}"
