"""A fine-tuning study of a second or two, and helpers to look at what it leaves."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from bounds.finetune.config import (
    FinetuneStudy,
    Judge,
    Pretrain,
    Pruning,
    Task,
    Train,
)
from bounds.finetune.observer import FinetuneObserver
from bounds.finetune.running import run_finetune
from bounds.results.finetuned import LAYERS, NETWORKS, read_finetuned

TASK = "tests.layers.finetuning.tiny_task"


def tiny_finetune(**more: Any) -> FinetuneStudy:
    """Three layers with 9 and 36 inputs, two widths, two seeds: 2 originals and 28 runs."""
    plan: dict[str, Any] = {
        "name": "tiny",
        "bits": (2, 4),
        "seeds": (1, 2),
        "workers": 1,
        "task": Task(f"{TASK}:network", f"{TASK}:data", gram=12, heldout=6),
        "pretrain": Pretrain(epochs=6, batch=8),
        "train": Train(epochs=2, batch=8),
        "pruning": Pruning(updates=6),
        "judge": Judge(bits=(2,)),
    }
    return FinetuneStudy(**(plan | more))


def timeless(folder: Path) -> list[list[dict[str, Any]]]:
    """Both tables without what a clock has a say in."""
    return [
        [{k: v for k, v in row.items() if k != "seconds"} for row in read_finetuned(folder, name)]
        for name in (NETWORKS, LAYERS)
    ]


class Telling(FinetuneObserver):
    """Prints what is finished."""

    def finished(self, job, new, error):
        print(job.name, flush=True)  # noqa: T201


if __name__ == "__main__":
    run_finetune(tiny_finetune(workers=2), results=Path(sys.argv[1]), observer=Telling())
