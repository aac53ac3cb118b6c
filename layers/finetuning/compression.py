"""The two compressions of a training run, attached to a network as parametrizations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.utils import parametrize

from layers.errors import FinetuneError
from layers.finetuning.gradual import SCOPES, Mask, is_due, shrink, sparsity_at
from layers.finetuning.lsq import STEPS, LearnedStep, code_range


@dataclass(frozen=True)
class Quantize:
    """Learned steps (``layers.finetuning.lsq``).

    Attributes:
        bits: 2 to 16.
        step: one per ``"tensor"`` or per output ``"channel"``.
        rate: of the steps' own Adam; Kuzmin et al. take 1e-5.
    """

    bits: int
    step: str = "tensor"
    rate: float = 1e-5

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        code_range(self.bits)
        if self.step not in STEPS:
            raise FinetuneError(f"step must be one of {', '.join(STEPS)}, got {self.step!r}")

    def attach(self, layers: Mapping[str, nn.Module]) -> Attached:
        """Put every layer's weight on a grid from now on."""
        found = {}
        for name, layer in layers.items():
            found[name] = LearnedStep(_weight(layer), self.bits, self.step)
            parametrize.register_parametrization(layer, "weight", found[name])
        return Attached(dict(layers), steps=found, rate=self.rate)


@dataclass(frozen=True)
class Prune:
    """Gradual magnitude pruning (``layers.finetuning.gradual``).

    Attributes:
        sparsity: share of weights removed in the end.
        until: share of all training steps after which masks no longer change; Kuzmin et al. stop
            at 15 of 20 epochs.
        scope: the same sparsity in every ``"layer"``, or the smallest weights of all
            (``"global"``).
        updates: how often masks shrink, about.
    """

    sparsity: float
    until: float = 0.75
    scope: str = "layer"
    updates: int = 100

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        sparsity_at(0, 1, self.sparsity)
        if not 0 <= self.until <= 1 or self.updates < 1 or self.scope not in SCOPES:
            raise FinetuneError(
                f"pruning until {self.until!r} of the steps in {self.updates!r} updates, scope "
                f"{self.scope!r}, is not possible; give a share from 0 to 1, 1 update or more, and "
                f"{' or '.join(SCOPES)}"
            )

    def attach(self, layers: Mapping[str, nn.Module]) -> Attached:
        """Mask every layer's weight from now on; nothing is removed yet."""
        found = {}
        for name, layer in layers.items():
            found[name] = Mask(_weight(layer))
            parametrize.register_parametrization(layer, "weight", found[name])
        return Attached(dict(layers), masks=found, plan=self)


class Attached:
    """A compression in a network under training."""

    def __init__(
        self,
        layers: dict[str, nn.Module],
        steps: dict[str, LearnedStep] | None = None,
        masks: dict[str, Mask] | None = None,
        plan: Prune | None = None,
        rate: float = 0.0,
    ) -> None:
        """Steps with the rate they learn at, or masks with their plan."""
        self.layers = layers
        self.steps = steps or {}
        self.masks = masks or {}
        self.plan = plan
        self.rate = rate

    @property
    def step_parameters(self) -> list[nn.Parameter]:
        """What has an optimizer of its own."""
        return [step.step for step in self.steps.values()]

    def before(self, step: int, total: int) -> None:
        """Shrink masks, if that is due before this step of ``total``."""
        if self.plan is None:
            return
        end = round(self.plan.until * total)
        if is_due(step, end, self.plan.updates):
            self._shrink(sparsity_at(step, end, self.plan.sparsity))

    def after(self) -> None:
        """Keep steps positive."""
        for step in self.steps.values():
            step.confine()

    def detach(self) -> tuple[dict[str, list[float]], dict[str, int]]:
        """Leave the compressed weights as plain ones; the steps, and weights kept, by layer.

        Masks first come to their last sparsity, whatever the schedule has reached.
        """
        if self.plan is not None:
            self._shrink(self.plan.sparsity)
        steps = {name: step.step.detach().reshape(-1).tolist() for name, step in self.steps.items()}
        for layer in self.layers.values():
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
        kept = {name: int((_weight(layer) != 0).sum()) for name, layer in self.layers.items()}
        return steps, kept

    def _shrink(self, sparsity: float) -> None:
        assert self.plan is not None
        weights = {
            mask: self.layers[name].parametrizations["weight"].original  # pyright: ignore
            for name, mask in self.masks.items()
        }
        shrink(weights, sparsity, self.plan.scope)


def _weight(layer: nn.Module) -> Tensor:
    weight = layer.weight
    assert isinstance(weight, Tensor)
    return weight
