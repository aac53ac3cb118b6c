"""What the paper's released pipeline does differently, each difference as an option, and its worth.

The behaviours are those of the code released with Kuzmin et al. 2023,
reproduced from its description; ``bounds.audit.chunks`` puts each beside the right one.
"""

from bounds.audit.chunks import audit_chunk, audit_unfolding
from bounds.audit.differences import DIFFERENCES, Comparison
from bounds.audit.table import records, render

__all__ = [
    "DIFFERENCES",
    "Comparison",
    "audit_chunk",
    "audit_unfolding",
    "records",
    "render",
]
