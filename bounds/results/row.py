"""One row of a study's results: what a method said about one chunk at one bit width.

The fields are the columns of the results table (``table.SCHEMA``), in this order and of these
types; a column that may be null says ``| None``. A new column is a new field here, and a value
where the study makes its rows.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """A result, all channels solved of a chunk together.

    Attributes:
        source, layer, kind: the network, the layer's name in it, and what it is ("conv", "linear").
        dump_hash: content hash of the dump its numbers come from.
        chunk, chunk_total: which chunk of the layer, and how many the layer has.
        group: which group of a grouped convolution.
        features: inputs n of the chunk.
        channels, channel_total: output channels solved, and all there are.
        problem, method, bits: what was asked.
        k: weights kept a channel, a fraction where neighbours are mixed; null for quantization.
        scale: step of the grid, the mean where channels have their own; null for pruning.
        rounding, rule: how weights were rounded first; how the step, or k, was chosen.
        time_limit, node_limit, seed: null where there is none, and for methods that ignore them.
        energy, lower, upper: summed over channels: the energy, the errors proven and attained.
        snr_bound, snr_attained: the same in dB.
        exact, certified, heuristic: channels of each status.
        heldout_energy, heldout_error, heldout_snr: of the attained weights on held-out inputs.
        nodes, seconds: of search; of the wall clock.
        notes: what the solver remarks, one after the other.
        grid: the grid (text of a ``GridRule``), chosen in the whole layer; empty for one step a
            chunk by ``rule``, and for pruning.
        storage: true bits a weight on that grid, steps and zero points counted; else null.
        versions, code, key: of packages; digest of the solvers; the task's own (``Task.key``).
    """

    source: str
    layer: str
    kind: str
    dump_hash: str
    chunk: int
    chunk_total: int
    group: int
    features: int
    channels: int
    channel_total: int
    problem: str
    method: str
    bits: int
    k: float | None
    scale: float | None
    rounding: str
    rule: str
    time_limit: float | None
    node_limit: int | None
    seed: int | None
    energy: float
    lower: float
    upper: float
    snr_bound: float
    snr_attained: float
    exact: int
    certified: int
    heuristic: int
    heldout_energy: float
    heldout_error: float
    heldout_snr: float
    nodes: int
    seconds: float
    notes: str
    versions: str
    code: str
    key: str
    grid: str = ""
    storage: float | None = None

    @property
    def kept(self) -> float:
        """Weights kept a channel: all, where none is pruned."""
        return self.features if self.k is None else self.k
