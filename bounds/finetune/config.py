"""A fine-tuning study, as plain data: which network and examples, which bit widths, which training.

Every field carries the rule its value must keep, as in ``bounds.study.plan.config``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from bounds.study.plan.rules import Checked, distinct, methods, one_of, positive, ruled, text, whole

OPTIMIZERS = ("sgd", "adam")
DIGITS = "digits"


def _number(low: int, what: str) -> dict[str, Any]:
    return ruled(lambda v: whole(v, low), f"a whole number of {what}, {low} or more")


def _share(what: str) -> dict[str, Any]:
    def accepts(value: Any) -> bool:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and 0 <= value <= 1

    return ruled(accepts, f"{what}, from 0 to 1")


def _amount(what: str) -> dict[str, Any]:
    return ruled(
        lambda v: positive(v) or (v == 0 and not isinstance(v, bool)), f"{what}, 0 or more"
    )


def _rate() -> dict[str, Any]:
    return ruled(lambda v: positive(v) and v < float("inf"), "a positive learning rate")


def _bits(least: int) -> dict[str, Any]:
    return ruled(
        lambda v: distinct(v, lambda b: whole(b, 2, 15)) and len(v) >= least,
        "a list of distinct whole numbers from 2 to 15",
    )


@dataclass(frozen=True)
class Task(Checked):
    """Which network, trained and tested on what.

    Attributes:
        network: ``"digits"``, a small residual network, or the name of any torch network
            (``layers.open_source``).
        data: ``"digits"``, ``"photographs"``, a folder, or ``module:function``, see
            ``layers.finetuning.data.load_examples``.
        skip: layers that are not compressed.
        gram: training examples that make the Gram matrices of the layer-wise problems.
        heldout: test examples that make the held-out ones.
    """

    section = "task"

    network: str = field(default=DIGITS, metadata=ruled(text, "digits, or the name of a network"))
    data: str = field(
        default=DIGITS,
        metadata=ruled(text, "digits, photographs, a folder of images, or module:function"),
    )
    skip: tuple[str, ...] = field(
        default=(), metadata=ruled(lambda v: distinct(v, text), "a list of distinct layer names")
    )
    gram: int = field(default=200, metadata=_number(1, "examples"))
    heldout: int = field(default=60, metadata=_number(1, "examples"))


@dataclass(frozen=True)
class Pretrain(Checked):
    """Training of the uncompressed network from random weights, new ones for every seed.

    ``epochs`` 0, the default, takes the weights the network comes with, the same for every seed.
    For the other fields see ``layers.finetuning.training.Training``.
    """

    section = "pretrain"

    epochs: int = field(default=0, metadata=_number(0, "epochs"))
    batch: int = field(default=32, metadata=_number(1, "examples"))
    optimizer: str = field(default="sgd", metadata=one_of(OPTIMIZERS))
    rate: float = field(default=0.05, metadata=_rate())
    decay: float = field(default=5e-4, metadata=_amount("a weight decay"))


@dataclass(frozen=True)
class Train(Checked):
    """Training of compressed networks, the same for quantized and pruned ones.

    For the fields see ``layers.finetuning.training.Training``.
    """

    section = "train"

    epochs: int = field(default=20, metadata=_number(1, "epochs"))
    batch: int = field(default=32, metadata=_number(1, "examples"))
    optimizer: str = field(default="sgd", metadata=one_of(OPTIMIZERS))
    rate: float = field(default=0.01, metadata=_rate())
    decay: float = field(default=1e-4, metadata=_amount("a weight decay"))
    distill: float = field(default=0.0, metadata=_share("a share of the loss"))
    temperature: float = field(
        default=2.0, metadata=ruled(positive, "a positive temperature of distillation")
    )


@dataclass(frozen=True)
class Quantization(Checked):
    """Quantization.

    Attributes:
        methods: without training, layer by layer on the original's inputs.
        step: one step per ``"tensor"`` or per output ``"channel"``, with and without training.
        rate: of the steps' own Adam.
    """

    section = "quantization"

    methods: tuple[str, ...] = field(default=("rtn", "gptq"), metadata=methods("quantization"))
    step: str = field(default="tensor", metadata=one_of(("tensor", "channel")))
    rate: float = field(default=1e-5, metadata=_rate())


@dataclass(frozen=True)
class Pruning(Checked):
    """Pruning.

    Attributes:
        methods: without training, layer by layer, equally many weights kept in every channel.
        until, scope, updates: of gradual pruning, see ``layers.finetuning.compression.Prune``.
    """

    section = "pruning"

    methods: tuple[str, ...] = field(default=("magnitude", "obs"), metadata=methods("pruning"))
    until: float = field(default=0.75, metadata=_share("a share of the training steps"))
    scope: str = field(default="layer", metadata=one_of(("layer", "global")))
    updates: int = field(default=100, metadata=_number(1, "updates of the masks"))


@dataclass(frozen=True)
class Judge(Checked):
    """Which weights are held against the bound of the original layer's problem.

    Attributes:
        bits: at which of the study's bit widths; none where empty.
        seeds: of the first so many seeds.
        features: layers with more inputs are left out.
        quantization, pruning: the method that proves.
    """

    section = "judge"

    bits: tuple[int, ...] = field(default=(), metadata=_bits(0))
    seeds: int = field(default=1, metadata=_number(1, "seeds"))
    features: int = field(default=256, metadata=_number(1, "inputs"))
    quantization: str = field(default="sdp", metadata=ruled(text, "a method for quantization"))
    pruning: str = field(default="perspective", metadata=ruled(text, "a method for pruning"))


@dataclass(frozen=True)
class FinetuneStudy(Checked):
    """A fine-tuning study; its results go to a folder of its ``name``.

    Attributes:
        bits: widths b of quantization, against the sparsity 1 - b/16.
        seeds: every run is repeated with each.
        workers: runs at a time, each on one core; they do not change the numbers.
        device: ``"cpu"``, ``"cuda"``, ...

    Raises:
        StudyError: a value breaks its rule.
    """

    name: str = field(
        metadata=ruled(
            lambda v: isinstance(v, str) and re.fullmatch(r"\w[\w.-]*", v) is not None,
            "letters, digits, dots, dashes and underscores (it names a folder)",
        )
    )
    bits: tuple[int, ...] = field(default=(2, 3, 4, 5, 6, 7, 8), metadata=_bits(1))
    seeds: tuple[int, ...] = field(
        default=(1, 2, 3),
        metadata=ruled(
            lambda v: distinct(v, lambda s: whole(s, 0, 2**31 - 1)) and len(v) > 0,
            "a list of distinct whole numbers from 0 to 2^31 - 1",
        ),
    )
    workers: int = field(default=2, metadata=_number(1, "runs at a time"))
    device: str = field(default="cpu", metadata=ruled(text, "cpu or cuda"))
    task: Task = field(default_factory=Task)
    pretrain: Pretrain = field(default_factory=Pretrain)
    train: Train = field(default_factory=Train)
    quantization: Quantization = field(default_factory=Quantization)
    pruning: Pruning = field(default_factory=Pruning)
    judge: Judge = field(default_factory=Judge)
