"""Certificates: ranges written so that ``bounds.verify`` can check them without our solvers.

The format is described in docs/certificate.md. Importing this package imports no solver.
"""

from bounds.certificate.writing import (
    Solved,
    certify,
    is_whole,
    load_verifier,
    write_certificate,
)

__all__ = ["Solved", "certify", "is_whole", "load_verifier", "write_certificate"]
