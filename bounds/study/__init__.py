"""The study: from a TOML file to tasks, and from tasks to a table of results.

``bounds.study.run.running.run_study`` runs one; it is not imported here because it brings the
solvers, and reading a study or its results needs none.
"""

from bounds.study.plan.config import Calibration, LayerChoice, Solve, Study
from bounds.study.plan.toml import bundled_studies, format_study, load_study, parse_study

__all__ = [
    "Calibration",
    "LayerChoice",
    "Solve",
    "Study",
    "bundled_studies",
    "format_study",
    "load_study",
    "parse_study",
]
