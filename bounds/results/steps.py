"""One problem solved again and again under growing limits: what was known after each run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Step:
    """One run: the limit, what it used, and both SNRs in dB over all channels."""

    limit: int
    nodes: int
    seconds: float
    snr_attained: float
    snr_bound: float
    exact: bool
