"""Training, with or without a compression: deterministic, and able to go on after a kill."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from layers.dump.layer import canonical_json
from layers.errors import FinetuneError
from layers.finetuning.checkpoint import drop_checkpoint, read_checkpoint, write_checkpoint
from layers.finetuning.compression import Attached, Prune, Quantize
from layers.finetuning.examples import Examples, Part, batches, even_batches
from layers.finetuning.norms import reestimate
from layers.finetuning.targets import find_targets
from layers.networks.torch_module import fingerprint

OPTIMIZERS = ("sgd", "adam")
MOMENTUM = 0.9


@dataclass(frozen=True)
class Training:
    """How a network is trained.

    Attributes:
        epochs: passes over the training examples; 0 only compresses.
        batch: examples a step; what is left over of an epoch is not used in it.
        optimizer: ``"sgd"`` (Nesterov momentum 0.9) or ``"adam"``.
        rate: learning rate at the start; it falls to 0 along half a cosine.
        decay: weight decay (``adam``: decoupled).
        distill: share of the loss that is distillation from the uncompressed network, 0 to 1.
        temperature: of the distillation.
        seed: of the order of examples and whatever the network draws.
        skip: layers that are not compressed.
    """

    epochs: int = 20
    batch: int = 32
    optimizer: str = "sgd"
    rate: float = 0.01
    decay: float = 1e-4
    distill: float = 0.0
    temperature: float = 2.0
    seed: int = 0
    skip: tuple[str, ...] = ()


@dataclass(frozen=True)
class Moment:
    """Where a run is: what is done, and mean training loss and accuracy of this epoch so far."""

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    accuracy: float


@dataclass
class Outcome:
    """What a run gave; the network itself was changed in place.

    Attributes:
        loss, accuracy: on the test examples, at the end.
        history: mean training loss and accuracy, [loss, accuracy] an epoch.
        steps: learned steps, by layer, one or one a channel.
        kept: nonzero weights, by layer.
        seconds: of this run alone, not of those it continues.
    """

    loss: float
    accuracy: float
    history: list[list[float]]
    steps: dict[str, list[float]] = field(default_factory=dict)
    kept: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0


def make_recipe(
    network: nn.Module,
    examples: Examples,
    training: Training,
    compression: Quantize | Prune | None = None,
    teacher: nn.Module | None = None,
    device: str = "cpu",
) -> dict[str, str]:
    """What decides a run's numbers; equal recipes give equal bits on one kind of machine."""
    networks = [network, teacher] if teacher is not None and training.distill else [network]
    kind = type(compression).__name__
    settings = {
        "training": asdict(training),
        "compression": {kind: asdict(compression)} if compression else None,
        "device": torch.device(device).type,
    }
    return {
        "network": " ".join(map(fingerprint, networks)),
        "data": examples.digest(),
        "settings": canonical_json(settings),
    }


def train(
    network: nn.Module,
    examples: Examples,
    training: Training,
    *,
    compression: Quantize | Prune | None = None,
    teacher: nn.Module | None = None,
    device: str = "cpu",
    folder: Path | None = None,
    every: float = 20.0,
    progress: Callable[[Moment], object] = lambda moment: None,
) -> Outcome:
    """Train a network in place; with a compression, its weights end on the grid or masked.

    A run that was stopped, however rudely, goes on from the checkpoint in ``folder`` and ends with
    the same bits as one that was not. All arithmetic on the CPU is on one thread, so that equal
    inputs give equal bits on any number of cores; several runs go side by side in processes.

    Args:
        network: returns scores (batch, classes).
        examples: what to train and test on.
        training: how.
        compression: of every Conv2d and Linear but those of ``training.skip``.
        teacher: the uncompressed network, for ``training.distill`` above 0.
        device: ``"cpu"``, ``"cuda"``, ...
        folder: of the checkpoint; None keeps none. It is removed when the run has ended.
        every: seconds between checkpoints.
        progress: told after every step.

    Raises:
        FinetuneError: settings, data or layers that do not fit (see ``find_targets``), a loss that
            is no number, or a checkpoint of something else.
    """
    began = time.monotonic()
    _check(training, teacher, device)
    recipe = make_recipe(network, examples, training, compression, teacher, device)
    with _deterministic(training.seed, device):
        network.to(device)
        example = examples.train.inputs(range(min(2, len(examples.train.labels)))).to(device)
        layers = find_targets(network, example, training.skip)
        attached = compression.attach(layers) if compression else Attached({})
        run = _Run(network, examples.train, training, attached, teacher, device)
        state = read_checkpoint(folder, recipe) if folder is not None else None
        if state is not None:
            run.restore(state)
        saved = time.monotonic()
        while run.step < run.steps:
            run.advance()
            progress(run.moment())
            if folder is not None and time.monotonic() - saved >= every:
                write_checkpoint(folder, recipe, run.state())
                saved = time.monotonic()
        steps, kept = attached.detach()
        if compression is not None:
            reestimate(network, even_batches(examples.train, device, 2 * training.batch))
        loss, accuracy = evaluate(network, examples.test, device)
        if not kept:
            kept = {name: int((m.weight != 0).sum()) for name, m in layers.items()}  # pyright: ignore
    if folder is not None:
        drop_checkpoint(folder)
    return Outcome(loss, accuracy, run.history, steps, kept, time.monotonic() - began)


class _Run:
    """The state of a run between two steps."""

    def __init__(
        self,
        network: nn.Module,
        part: Part,
        training: Training,
        attached: Attached,
        teacher: nn.Module | None,
        device: str,
    ) -> None:
        self.network, self.part, self.training = network, part, training
        self.attached, self.device = attached, device
        self.teacher = teacher.to(device).eval() if teacher is not None else None
        self.batch = min(training.batch, len(part.labels))
        self.per_epoch = len(part.labels) // self.batch
        self.steps = training.epochs * self.per_epoch
        self.step = 0
        self.history: list[list[float]] = []
        self.running = [0.0, 0.0]
        own = {id(step) for step in attached.step_parameters}
        others = [p for p in network.parameters() if id(p) not in own and p.requires_grad]
        self.optimizers = [_optimizer(training, others)]
        if attached.step_parameters:
            self.optimizers.append(torch.optim.Adam(attached.step_parameters, attached.rate))
        self._order: tuple[int, list[int]] = (-1, [])

    def advance(self) -> None:
        """One step."""
        self.attached.before(self.step, self.steps)
        epoch, index = divmod(self.step, self.per_epoch)
        if self._order[0] != epoch:
            self._order = epoch, _order(self.training.seed, epoch, len(self.part.labels))
        chosen = self._order[1][index * self.batch : (index + 1) * self.batch]
        x = self.part.inputs(chosen).to(self.device)
        y = self.part.labels[chosen].to(self.device)
        self.network.train()
        scores = self.network(x)
        check_scores(scores, y)
        loss = self._loss(scores, x, y)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise FinetuneError(
                f"the loss is {value} at step {self.step + 1} of {self.steps} (epoch {epoch + 1}); "
                f"lower train.rate ({self.training.rate:g}), and check that inputs are finite"
            )
        main = self.optimizers[0]
        for group in main.param_groups:
            group["lr"] = self.training.rate * (1 + math.cos(math.pi * self.step / self.steps)) / 2
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        loss.backward()
        for optimizer in self.optimizers:
            optimizer.step()
        self.attached.after()
        hits = float((scores.detach().argmax(dim=1) == y).sum())
        self.running = [self.running[0] + value, self.running[1] + hits / self.batch]
        self.step += 1
        if index + 1 == self.per_epoch:
            self.history.append([total / self.per_epoch for total in self.running])
            self.running = [0.0, 0.0]

    def moment(self) -> Moment:
        """Where the run is."""
        epoch, index = divmod(self.step, self.per_epoch)
        loss, accuracy = (
            [total / index for total in self.running] if index else self.history[-1]
        )  # right after an epoch: those of that epoch
        return Moment(epoch, self.training.epochs, self.step, self.steps, loss, accuracy)

    def state(self) -> dict[str, Any]:
        """All that the next steps depend on."""
        cuda = torch.device(self.device).type == "cuda"
        return {
            "step": self.step,
            "network": self.network.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "random": torch.get_rng_state(),
            "cuda_random": torch.cuda.get_rng_state() if cuda else None,
            "history": self.history,
            "running": self.running,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self.network.load_state_dict(state["network"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        torch.set_rng_state(state["random"])
        if state["cuda_random"] is not None:
            torch.cuda.set_rng_state(state["cuda_random"])
        self.step, self.history, self.running = state["step"], state["history"], state["running"]

    def _loss(self, scores: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """Cross entropy, and as far as is wished the divergence from the teacher (Hinton 2015)."""
        share = self.training.distill
        loss = functional.cross_entropy(scores, y)
        if self.teacher is None or not share:
            return loss
        heat = self.training.temperature
        with torch.no_grad():
            wanted = functional.log_softmax(self.teacher(x) / heat, dim=1)
        given = functional.log_softmax(scores / heat, dim=1)
        apart = functional.kl_div(given, wanted, reduction="batchmean", log_target=True)
        return (1 - share) * loss + share * heat**2 * apart


@torch.no_grad()
def evaluate(network: nn.Module, part: Part, device: str = "cpu") -> tuple[float, float]:
    """Mean cross entropy and accuracy in evaluation mode.

    Raises:
        FinetuneError: the network does not return scores of as many classes as there are.
    """
    network.eval()
    loss = hits = 0.0
    for x, y in batches(part, device):
        scores = network(x)
        check_scores(scores, y)
        loss += float(functional.cross_entropy(scores, y, reduction="sum"))
        hits += float((scores.argmax(dim=1) == y).sum())
    return loss / len(part.labels), hits / len(part.labels)


def check_scores(scores: Any, labels: Tensor) -> None:
    """Raise FinetuneError unless ``scores`` are (batch, classes), of all classes there are."""
    if not isinstance(scores, Tensor) or scores.dim() != 2:
        shape = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
        raise FinetuneError(
            f"the network returns {shape}; to be trained it must return scores (batch, classes)"
        )
    if int(labels.max()) >= scores.shape[1]:
        raise FinetuneError(
            f"an example has the label {int(labels.max())}, but the network scores "
            f"{scores.shape[1]} classes, 0 to {scores.shape[1] - 1}; give it one output a class"
        )


def restart_weights(network: nn.Module, seed: int) -> None:
    """Draw new random weights, as each layer does when it is made; the same for the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for module in network.modules():
            reset = getattr(module, "reset_parameters", None)
            if callable(reset):
                reset()


def _check(training: Training, teacher: nn.Module | None, device: str) -> None:
    if training.optimizer not in OPTIMIZERS:
        raise FinetuneError(
            f"optimizer must be one of {', '.join(OPTIMIZERS)}, got {training.optimizer!r}"
        )
    if training.epochs < 0 or training.batch < 1 or not training.rate > 0:
        raise FinetuneError("epochs must be 0 or more, batch 1 or more, and rate positive")
    if not 0 <= training.distill <= 1 or not training.temperature > 0:
        raise FinetuneError("distill must be a share from 0 to 1, and temperature positive")
    if training.distill and teacher is None:
        raise FinetuneError("distillation needs a teacher, the uncompressed network")
    check_device(device)


def check_device(device: str) -> None:
    """Raise FinetuneError where this torch cannot compute on ``device``."""
    try:
        kind = torch.device(device).type
    except RuntimeError as error:
        raise FinetuneError(f"unknown device {device!r}; give cpu or cuda") from error
    if kind == "cuda" and not torch.cuda.is_available():
        raise FinetuneError("there is no CUDA device that this torch can use; give device = 'cpu'")


def _optimizer(training: Training, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    if training.optimizer == "adam":
        return torch.optim.AdamW(parameters, lr=training.rate, weight_decay=training.decay)
    return torch.optim.SGD(
        parameters, lr=training.rate, momentum=MOMENTUM, nesterov=True, weight_decay=training.decay
    )


def _order(seed: int, epoch: int, count: int) -> list[int]:
    """The order of an epoch: of seed and epoch alone, so that a run can begin in the middle."""
    generator = torch.Generator().manual_seed((seed << 20) + epoch)
    return torch.randperm(count, generator=generator).tolist()


@contextmanager
def _deterministic(seed: int, device: str) -> Iterator[None]:
    """Seeded, one thread, deterministic kernels; as before afterwards."""
    threads = torch.get_num_threads()
    strict = torch.are_deterministic_algorithms_enabled()
    cuda = torch.device(device).type == "cuda"
    if cuda:  # what cuBLAS needs for that, see torch.use_deterministic_algorithms
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    with torch.random.fork_rng(devices=[torch.cuda.current_device()] if cuda else []):
        torch.manual_seed(seed)
        torch.set_num_threads(1)
        torch.use_deterministic_algorithms(True)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            torch.use_deterministic_algorithms(strict)
