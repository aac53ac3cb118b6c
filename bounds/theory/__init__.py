"""What to expect of quantization and pruning from the distribution of the weights alone.

Section 3 of Kuzmin et al., *Pruning vs Quantization: Which is Better?*, NeurIPS 2023: no inputs, no
Gram matrix, only the squared error of the weights themselves, as an SNR in dB. Distributions are a
``Density`` (normal, Student-t, truncated anywhere) or the ``Sample`` of a weight tensor.
"""

from bounds.problem.storage import (
    mask_bits,
    pruning_bits,
    quantization_bits,
    sparsity_at_bits,
    sparsity_at_true_bits,
)
from bounds.theory.density import Density
from bounds.theory.error import (
    Distribution,
    QuantizationError,
    optimal_step,
    prune,
    pruning_error,
    pruning_snr,
    quantization_error,
    quantization_snr,
    quantize,
)
from bounds.theory.sample import Sample

__all__ = [
    "Density",
    "Distribution",
    "QuantizationError",
    "Sample",
    "mask_bits",
    "optimal_step",
    "prune",
    "pruning_bits",
    "pruning_error",
    "pruning_snr",
    "quantization_bits",
    "quantization_error",
    "quantization_snr",
    "quantize",
    "sparsity_at_bits",
    "sparsity_at_true_bits",
]
