"""The runs of a fine-tuning study."""

from __future__ import annotations

from dataclasses import dataclass

from bounds.finetune.config import FinetuneStudy
from bounds.problem.methods import PRUNING, QUANTIZATION
from bounds.results.finetuned import GRADUAL, ONE_SHOT, ORIGINAL, QAT


@dataclass(frozen=True)
class Job:
    """One network to make and measure.

    Attributes:
        problem: ``quantization``, ``pruning``, or empty for the original.
        method: of the table of methods, or of ``bounds.results.finetuned``.
        bits: width, None for the original.
        seed: of all that is random.
        epochs: of training; what a progress bar counts.
    """

    problem: str
    method: str
    bits: int | None
    seed: int
    epochs: int

    @property
    def name(self) -> str:
        """Names the run's folder."""
        bits = "" if self.bits is None else f"-{self.bits}"
        return f"{self.method}{bits}-seed{self.seed}"

    @property
    def cost(self) -> int:
        """Epochs, with one for the measuring."""
        return self.epochs + 1


def originals(study: FinetuneStudy) -> list[Job]:
    """What everything else starts from."""
    return [Job("", ORIGINAL, None, seed, study.pretrain.epochs) for seed in study.seeds]


def compressed(study: FinetuneStudy) -> list[Job]:
    """Every compressed network, the long runs first."""
    jobs = [
        Job(problem, method, bits, seed, study.train.epochs)
        for bits in study.bits
        for seed in study.seeds
        for problem, method in ((QUANTIZATION, QAT), (PRUNING, GRADUAL))
    ]
    for bits in study.bits:
        for seed in study.seeds:
            jobs += [Job(QUANTIZATION, m, bits, seed, 0) for m in study.quantization.methods]
            jobs += [Job(PRUNING, m, bits, seed, 0) for m in (*study.pruning.methods, ONE_SHOT)]
    return jobs
