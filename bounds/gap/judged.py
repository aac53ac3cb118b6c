"""What is known of one layer of a checkpoint: numbers, and what they say in words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bounds.problem.methods import PRUNING
from bounds.problem.range import decibels, snr

Floats = NDArray[np.float64]

UNCHANGED, UNKNOWN = "unchanged", "unknown"
#: Share of weights equal to rounding from which a layer counts as rounded.
ROUNDED = 0.999
#: dB within which an error is as good as that of rounding.
ALIKE = 0.1
RESAMPLES = 1000
#: What the plain method is called, and what a layer that equals it.
_PLAIN_WORDS = (
    ("rounding", "rounded to nearest"),
    ("magnitude", "the largest weights, as they were"),
)


@dataclass(frozen=True, eq=False)
class Sample:
    """Errors (sampled,) of some channels: as given, by GPTQ, the best found, and proven.

    ``quick`` is None where that method is not for this constraint; ``lower`` is 0 where nothing is
    proven. Unit of the energy (sampled,).
    """

    energy: Floats
    error: Floats
    quick: Floats | None
    best: Floats
    lower: Floats

    def interval(self, of: Floats) -> tuple[float, float]:
        """95% of the dB of summed errors over summed ``of``, channels drawn again and again."""
        count = len(self.error)
        picks = np.random.default_rng(count).integers(0, count, (RESAMPLES, count))
        over, under = self.error[picks].sum(axis=1), of[picks].sum(axis=1)
        ratios = [
            decibels(a, b) if a > 0 or b > 0 else 0.0 for a, b in zip(over, under, strict=True)
        ]
        low, high = np.quantile(ratios, (0.025, 0.975))
        return float(low), float(high)


@dataclass(frozen=True, eq=False)
class JudgedLayer:
    """A layer of a checkpoint against its original, on the inputs it sees: the whole layer.

    Attributes:
        layer, source: names of the layer and the network.
        kind: ``quantization``, ``pruning``, ``joint``; ``unchanged``; or ``unknown`` where no grid
            or pattern fits.
        said: what the file says it is.
        demand: what it was held against, in words.
        channels, features: of the layer.
        bits: true bits a weight: codes, steps, zero points, mask.
        density: share of weights that are not zero.
        energy, error: of all channels together.
        plain: error of rounding to nearest on the same grid (or of the largest weights kept), all
            channels; None where there is no constraint.
        nearest: share of weights equal to that rounding.
        sample: errors of some channels, for what takes long.
        volume: volume bound on the sum over all channels, 0 without.
        heldout_energy, heldout_error: on held-out inputs; None without such a part.
        method: what proved ``sample.lower``.
        damping: share of the mean Gram diagonal that GPTQ's baseline adds.
        notes: remarks, one sentence each.
        seconds: wall time.
    """

    layer: str
    source: str
    kind: str
    said: str
    demand: str
    channels: int
    features: int
    bits: float
    density: float
    energy: float
    error: float
    plain: float | None = None
    nearest: float = math.nan
    sample: Sample | None = None
    volume: float = 0.0
    heldout_energy: float | None = None
    heldout_error: float | None = None
    method: str = ""
    damping: float = 0.0
    notes: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def snr(self) -> float:
        """In dB, all channels."""
        return snr(self.energy, self.error)

    @property
    def heldout_snr(self) -> float:
        """On held-out inputs; NaN without."""
        if self.heldout_energy is None or self.heldout_error is None:
            return math.nan
        return snr(self.heldout_energy, self.heldout_error)

    @property
    def over_plain(self) -> float:
        """dB of the error over that of rounding: negative is better than rounding."""
        return math.nan if self.plain is None else _over(self.error, self.plain)

    @property
    def over_quick(self) -> float:
        """dB over GPTQ on the same grid, of the sampled channels; NaN if not known."""
        if self.sample is None or self.sample.quick is None:
            return math.nan
        return _over(self.sample.error.sum(), self.sample.quick.sum())

    @property
    def loss(self) -> float:
        """dB over the best that was found for the sampled channels: so much could be had."""
        return (
            math.nan
            if self.sample is None
            else _over(self.sample.error.sum(), self.sample.best.sum())
        )

    @property
    def to_bound(self) -> float:
        """dB over the proven bound of the sampled channels: no more can be had; maybe infinite."""
        return (
            math.nan
            if self.sample is None
            else _over(self.sample.error.sum(), self.sample.lower.sum())
        )

    @property
    def to_volume(self) -> float:
        """dB over the volume bound, which speaks of displaced weights; infinite without."""
        return _over(self.error, self.volume) if self.plain is not None else math.nan

    @property
    def whole(self) -> bool:
        """Whether every channel was sampled, so that nothing is estimated."""
        return self.sample is not None and len(self.sample.error) == self.channels

    def loss_interval(self) -> tuple[float, float] | None:
        """95% confidence of ``loss``; None where nothing is estimated."""
        return None if self.sample is None or self.whole else self.sample.interval(self.sample.best)

    @property
    def flags(self) -> tuple[str, ...]:
        """What a reader should look at."""
        found = []
        if self.kind == UNCHANGED:
            return ("as the original",)
        if self.energy > 0 and self.error > 0.5 * self.energy:
            found.append("does not resemble the original")
        plain, same = _PLAIN_WORDS[self.kind == PRUNING]
        if self.nearest >= ROUNDED:
            found.append(same)
        elif self.over_plain > ALIKE:
            found.append(f"worse than {plain}")
        elif self.over_plain > -ALIKE:
            found.append(f"no better than {plain}")
        if self.heldout_snr < self.snr - 3:
            found.append("much worse on held-out inputs")
        return tuple(found)

    def record(self) -> Mapping[str, Any]:
        """Every number by name, ready for JSON; what is not known or not finite is None."""
        interval = self.loss_interval()
        values: dict[str, Any] = {
            "layer": self.layer, "source": self.source, "kind": self.kind, "said": self.said,
            "demand": self.demand, "channels": self.channels, "features": self.features,
            "bits": self.bits, "density": self.density, "energy": self.energy,
            "error": self.error, "snr": self.snr, "over_rounding": self.over_plain,
            "over_gptq": self.over_quick, "loss": self.loss,
            "loss_low": interval[0] if interval else None,
            "loss_high": interval[1] if interval else None,
            "to_bound": self.to_bound, "to_volume": self.to_volume,
            "sampled": 0 if self.sample is None else len(self.sample.error),
            "equal_to_rounding": self.nearest, "heldout_snr": self.heldout_snr,
            "method": self.method, "damping": self.damping, "flags": list(self.flags),
            "notes": list(self.notes), "seconds": self.seconds,
        }  # fmt: skip
        return {
            name: None if isinstance(v, float) and not math.isfinite(v) else v
            for name, v in values.items()
        }


def _over(error: float, other: float) -> float:
    """dB of one error over another; 0 where both vanish."""
    return 0.0 if error <= 0 and other <= 0 else decibels(float(error), float(other))


def worst_first(judged: list[JudgedLayer]) -> list[JudgedLayer]:
    """By what could be had, layers of which nothing is known last."""
    return sorted(judged, key=lambda one: -one.loss if math.isfinite(one.loss) else math.inf)
