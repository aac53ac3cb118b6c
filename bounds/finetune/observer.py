"""Who is told how a fine-tuning study goes; nothing heavy is imported with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bounds.finetune.jobs import Job


class FinetuneObserver:
    """Is told about progress; does nothing."""

    def begin(self, runs: int, epochs: int) -> None:
        """So many runs are ahead, of so many epochs in all (one more each, for measuring)."""

    def moving(self, name: str, *, epoch: int, epochs: int, loss: float, accuracy: float) -> None:
        """So many epochs of a run are done; mean training loss and accuracy of the present one."""

    def finished(self, job: Job, new: bool, error: str) -> None:
        """A run ended; ``error`` says why it failed."""
