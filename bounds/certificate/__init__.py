"""Certificates: ranges written so that ``bounds.verify`` can check them without our solvers.

The format is described in docs/certificate.md. Importing this package imports no solver.
"""

from bounds.certificate.writing import Solved, write_certificate

__all__ = ["Solved", "write_certificate"]
