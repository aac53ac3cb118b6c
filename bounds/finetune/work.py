"""One run of a fine-tuning study, in a process of its own: make the network, measure it, keep both.

A run's folder is a network (``finetuned:RUN``). It is finished once its rows are written; a killed
run goes on from its checkpoint, with the same bits.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from bounds.errors import StudyError
from bounds.finetune.config import DIGITS, FinetuneStudy
from bounds.finetune.jobs import Job
from bounds.finetune.layerwise import compress, judge_layer
from bounds.problem.methods import PRUNING, QUANTIZATION
from bounds.problem.range import snr
from bounds.problem.storage import sparsity_at_bits
from bounds.results.files import write_bytes
from bounds.results.finetuned import GRADUAL, ONE_SHOT, ORIGINAL, QAT, Row
from layers.dump.file import dump_path, read_dump
from layers.dump.layer import LayerDump, canonical_json
from layers.errors import DumpError, LayerboundsError, SourceError
from layers.finetuning.checkpoint import drop_checkpoint, read_checkpoint
from layers.finetuning.compare import compare
from layers.finetuning.compression import Prune, Quantize
from layers.finetuning.data import load_examples
from layers.finetuning.dumping import dump_examples
from layers.finetuning.examples import Examples, even_batches
from layers.finetuning.norms import reestimate
from layers.finetuning.targets import find_targets
from layers.finetuning.training import (
    Moment,
    Training,
    check_device,
    evaluate,
    make_recipe,
    restart_weights,
    train,
)
from layers.networks.finetuned import Trained, read_trained, with_weights, write_trained
from layers.networks.open import open_source
from layers.networks.torch_module import TorchSource

#: Part of every key: a change of what is measured, and how, does all of it again.
VERSION = "1"
ROWS = "rows.json"
DIGITS_SOURCE = "layers.networks.digits:network"
#: A method that bounds nothing is not asked to: rounding and magnitude share a grid or a count
#: with these.
JUDGED = (QAT, GRADUAL, "gptq", "obs")

Tick = Callable[[Moment], object]


@dataclass(frozen=True)
class Done:
    """What became of a run: its rows, or why there are none; ``new`` if it was not found."""

    job: Job
    network: Row
    layers: list[Row]
    new: bool = True
    error: str = ""


def run_folder(folder: Path, job: Job) -> Path:
    """Where a run is kept, in the folder of its study."""
    return folder / "runs" / job.name


def dumps_folder(folder: Path) -> Path:
    """Where the dumps of the originals' layers are kept."""
    return folder / "dumps"


def work(study: FinetuneStudy, job: Job, folder: Path, tick: Tick) -> Done:
    """Do a run, or what is left of it; a failure is told, not raised.

    Args:
        study: what it belongs to.
        job: which run.
        folder: of the study.
        tick: told after every step of training.
    """
    try:
        return _Worker(study, folder, tick).do(job)
    except LayerboundsError as error:
        return Done(job, {}, [], error=f"{type(error).__name__}: {error}")


def source_name(study: FinetuneStudy) -> str:
    """The study's network as ``open_source`` knows it."""
    return DIGITS_SOURCE if study.task.network == DIGITS else study.task.network


def open_network(study: FinetuneStudy) -> TorchSource:
    """The study's network, as it comes.

    Raises:
        SourceError: unknown, or no torch module.
    """
    source = open_source(source_name(study))
    if not isinstance(source, TorchSource):
        raise SourceError(
            f"{study.task.network} is no torch module (an ONNX graph, for one, is not), so it "
            "cannot be trained; give a network that is"
        )
    return source


@cache
def _examples(data: str, network: str) -> Examples:
    """Kept by a worker for all its runs."""
    return load_examples(data, open_source(network).preprocessing)


class _Worker:
    """A study, its folder, and who is told."""

    def __init__(self, study: FinetuneStudy, folder: Path, tick: Tick) -> None:
        self.study, self.folder, self.tick = study, folder, tick
        self.examples = _examples(study.task.data, source_name(study))

    def do(self, job: Job) -> Done:
        """The rows of a run, found or made."""
        where = run_folder(self.folder, job)
        source = open_network(self.study)
        original = source if job.method == ORIGINAL else self._original(job.seed)
        trained = None if job.method == ORIGINAL else self._find(original, job, where)
        if job.method == ORIGINAL:
            original, trained = self._make_original(source, job, where)
        assert trained is not None
        plans = [asdict(part) for part in (job, self.study.task, self.study.judge)]
        networks = [original.fingerprint(), trained.sha256, self.examples.digest()]
        key = _digest(VERSION, self.study.name, *networks, *plans)
        found = _read_rows(where, key)
        if found is not None:
            return Done(job, found["network"], found["layers"], new=False)
        network, layers = self._measure(original, trained, job)
        record = {"key": key, "network": network, "layers": layers}
        write_bytes(where / ROWS, json.dumps(record, indent=1).encode() + b"\n")
        return Done(job, network, layers)

    def _original(self, seed: int) -> TorchSource:
        """The uncompressed network of a seed, which has been made."""
        name = f"{ORIGINAL}-seed{seed}"
        trained = read_trained(self.folder / "runs" / name)
        return with_weights(name, open_network(self.study), trained)

    def _make_original(
        self, source: TorchSource, job: Job, where: Path
    ) -> tuple[TorchSource, Trained]:
        """Train the uncompressed network, or take it as it comes; and dump its layers."""
        plan, net = self.study.pretrain, source.module
        training = Training(
            plan.epochs, plan.batch, plan.optimizer, plan.rate, plan.decay, seed=job.seed,
            skip=self.study.task.skip,
        )  # fmt: skip
        if plan.epochs:
            restart_weights(net, job.seed)
        trained = self._train(net, training, None, None, where)
        original = with_weights(job.name, source, trained)
        self._dump(original)
        return original, trained

    def _find(self, original: TorchSource, job: Job, where: Path) -> Trained:
        """The compressed network of a job, found or made."""
        plan = self.study.train
        epochs = 0 if job.method == ONE_SHOT else plan.epochs
        training = Training(
            epochs, plan.batch, plan.optimizer, plan.rate, plan.decay, plan.distill,
            plan.temperature, job.seed, self.study.task.skip,
        )  # fmt: skip
        assert job.bits is not None
        if job.method == QAT:
            options = self.study.quantization
            compression = Quantize(job.bits, options.step, options.rate)
        elif job.method in (GRADUAL, ONE_SHOT):
            pruning = self.study.pruning
            compression = Prune(
                sparsity_at_bits(job.bits), pruning.until, pruning.scope, pruning.updates
            )
        else:
            return self._compress(original, training, job, where)
        teacher = original.module if training.distill and epochs else None
        if teacher is None:
            training = replace(training, distill=0.0)
        return self._train(deepcopy(original.module), training, compression, teacher, where)

    def _train(
        self,
        net: nn.Module,
        training: Training,
        compression: Quantize | Prune | None,
        teacher: nn.Module | None,
        where: Path,
    ) -> Trained:
        """Train, unless the very run is there already."""
        device = self.study.device
        recipe = make_recipe(net, self.examples, training, compression, teacher, device)
        if (found := _read_run(where, recipe)) is not None:
            return found
        if read_other(where, recipe):
            drop_checkpoint(where)  # of another study of this name: this one starts anew
        outcome = train(
            net, self.examples, training, compression=compression, teacher=teacher, device=device,
            folder=where, progress=self.tick,
        )  # fmt: skip
        return self._write(net, recipe, outcome.loss, outcome.accuracy, where, **{
            "history": outcome.history, "steps": outcome.steps, "kept": outcome.kept,
            "seconds": outcome.seconds,
        })  # fmt: skip

    def _compress(
        self, original: TorchSource, training: Training, job: Job, where: Path
    ) -> Trained:
        """Compress layer by layer without training, then batch norm anew as after training."""
        assert job.bits is not None
        step = self.study.quantization.step
        settings = {"method": job.method, "bits": job.bits, "step": step, "batch": training.batch}
        net = deepcopy(original.module)
        recipe = make_recipe(net, self.examples, replace(training, epochs=0, seed=0))
        recipe["settings"] = canonical_json(
            {**settings, "gram": self.study.task.gram, "version": VERSION}
        )
        if (found := _read_run(where, recipe)) is not None:
            return found
        began = time.monotonic()
        layers = find_targets(net, self._example(), self.study.task.skip)
        kept = {}
        for name, layer in layers.items():
            dump = self._read_dump(original, name)
            weights = compress(dump, job.problem, job.method, job.bits, step)
            with torch.no_grad():
                own = layer.weight
                assert isinstance(own, torch.Tensor)
                own.copy_(torch.from_numpy(weights).reshape(own.shape))
                kept[name] = int((own != 0).sum())
        net.to(self.study.device)
        reestimate(net, even_batches(self.examples.train, self.study.device, 2 * training.batch))
        loss, accuracy = evaluate(net, self.examples.test, self.study.device)
        return self._write(
            net, recipe, loss, accuracy, where, kept=kept, seconds=time.monotonic() - began
        )

    def _write(
        self, net: nn.Module, recipe: dict[str, str], loss: float, accuracy: float, where: Path,
        **more: Any,
    ) -> Trained:  # fmt: skip
        trained = Trained(source_name(self.study), recipe, loss, accuracy, **more)
        return write_trained(where, net.cpu(), trained)

    def _example(self) -> torch.Tensor:
        return self.examples.train.inputs(range(min(2, len(self.examples.train.labels))))

    def _dump(self, original: TorchSource) -> None:
        """Dump the original's layers, unless they are there."""
        names = list(find_targets(original.module, self._example(), self.study.task.skip))
        try:
            for name in names:
                self._read_dump(original, name)
        except DumpError:
            task = self.study.task
            dump_examples(
                original, names, self.examples, dumps_folder(self.folder), task.gram, task.heldout
            )

    def _read_dump(self, original: TorchSource, name: str) -> LayerDump:
        """The dump of a layer of this very network from these very examples."""
        dump = read_dump(dump_path(dumps_folder(self.folder), original.name, name))
        task = self.study.task
        counts = (len(dump.images), len(dump.heldout_images))
        wanted = (
            min(task.gram, len(self.examples.train.labels)),
            min(task.heldout, len(self.examples.test.labels)),
        )
        same = dump.recipe.get("network") == original.fingerprint()
        if not same or dump.recipe.get("examples") != self.examples.digest() or counts != wanted:
            raise DumpError(f"the dump of {original.name} {name} is of another run")
        return dump

    def _measure(self, original: TorchSource, trained: Trained, job: Job) -> tuple[Row, list[Row]]:
        """The rows of a network that was made."""
        net = with_weights(job.name, open_network(self.study), trained).module.eval()
        names = list(find_targets(net, self._example(), self.study.task.skip))
        head = {
            "study": self.study.name, "run": job.name, "seed": job.seed, "problem": job.problem,
            "method": job.method, "bits": job.bits, "epochs": job.epochs,
        }  # fmt: skip
        sizes = {name: net.get_parameter(f"{name}.weight").numel() for name in names}
        network = {
            **head,
            "accuracy": trained.accuracy,
            "loss": trained.loss,
            "tests": len(self.examples.test.labels),
            "weights": sum(sizes.values()),
            "kept": sum(trained.kept[name] for name in names),
            "seconds": trained.seconds,
        }
        if job.method == ORIGINAL:
            return network, []
        like = compare(original.module, net, names, self.examples.test)
        judge = self.study.judge
        first = self.study.seeds[: judge.seeds]
        wanted = job.bits in judge.bits and job.seed in first and job.method in JUDGED
        rows = []
        for position, name in enumerate(names):
            dump = self._read_dump(original, name)
            steps = trained.steps.get(name)
            verdict = judge_layer(
                dump,
                net.get_parameter(f"{name}.weight").detach().numpy(),  # its precision is known
                job.problem,
                bits=job.bits,
                steps=None if steps is None else _per_channel(steps, dump.channels),
                bounds=judge if wanted else None,
            )
            lower = verdict.lower
            rows.append(
                {
                    **head,
                    "layer": name,
                    "position": position,
                    "channels": dump.channels,
                    "features": dump.features,
                    "kept": trained.kept[name],
                    "cka": like[name].cka,
                    "output_snr": like[name].snr,
                    "energy": verdict.energy,
                    "error": verdict.error,
                    "snr": snr(verdict.energy, verdict.error),
                    "heldout_snr": verdict.heldout_snr,
                    "lower": lower,
                    "snr_bound": None if lower is None else snr(verdict.energy, lower),
                    "exact": verdict.exact,
                    "certified": verdict.certified,
                }
            )
        return network, rows


def read_other(where: Path, recipe: dict[str, str]) -> bool:
    """Whether there is a checkpoint that is not of this run."""
    try:
        read_checkpoint(where, recipe)
    except LayerboundsError:
        return True
    return False


def _read_run(where: Path, recipe: dict[str, str]) -> Trained | None:
    """The finished run in a folder, if it is the one wanted and whole."""
    try:
        trained = read_trained(where)
        whole = hashlib.sha256(trained.weights_file.read_bytes()).hexdigest() == trained.sha256
    except (SourceError, OSError):
        return None
    return trained if whole and dict(trained.recipe) == recipe else None


def _read_rows(where: Path, key: str) -> dict[str, Any] | None:
    try:
        record = json.loads((where / ROWS).read_text("utf-8"))
        return record if record["key"] == key else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _per_channel(steps: list[float], channels: int) -> np.ndarray:
    return np.broadcast_to(np.array(steps, np.float64), (channels,)).copy()


def _digest(*parts: Any) -> str:
    return hashlib.sha256(canonical_json(parts).encode()).hexdigest()


def check_study(study: FinetuneStudy) -> None:
    """Refuse, before anything is trained, what no run of the study could do.

    Raises:
        LayerboundsError: the network or the examples cannot be had, do not fit each other, or a
            method of ``judge`` is unknown.
    """
    from bounds.problem.methods import find_method

    for problem in (QUANTIZATION, PRUNING):
        if find_method(problem, getattr(study.judge, problem)).proves == "nothing":
            raise StudyError(
                f"judge.{problem}: {getattr(study.judge, problem)} proves no bound; see "
                "`layerbounds methods`"
            )
    check_device(study.device)
    net = open_network(study).module
    examples = _examples(study.task.data, source_name(study))
    example = examples.train.inputs(range(min(2, len(examples.train.labels))))
    find_targets(net, example, study.task.skip)


def orphan_check(parent: int) -> Callable[[], None]:
    """A function that ends this process once ``parent`` is gone: who kills a study kills it all."""

    def check() -> None:
        if parent not in (os.getpid(), os.getppid()):
            os._exit(1)

    return check
