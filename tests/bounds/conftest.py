"""A tiny study, run once for all tests that look at its results."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from bounds.finetune.config import FinetuneStudy
from bounds.finetune.running import FinetuneReport, run_finetune
from bounds.study import Study
from bounds.study.run.running import Report, run_study
from tests.bounds.finetune.finetune_cases import tiny_finetune
from tests.bounds.study.study_cases import tiny_study
from tests.layers.tiny import write_images


@dataclass(frozen=True)
class Ran:
    """A finished run, and what it takes to run it again."""

    study: Study
    report: Report
    results: Path
    dumps: Path


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("images"), count=6)


@pytest.fixture(scope="session")
def ran(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """Shared: tests read it, and copy it before they change anything."""
    folder = tmp_path_factory.mktemp("study")
    study = tiny_study(images)
    results, dumps = folder / "results", folder / "dumps"
    return Ran(study, run_study(study, results=results, dumps=dumps), results, dumps)


@dataclass(frozen=True)
class Tuned:
    """A finished fine-tuning study."""

    study: FinetuneStudy
    report: FinetuneReport
    results: Path


@pytest.fixture(scope="session")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Tuned:
    """Shared: tests read it, and copy it before they change anything."""
    results = tmp_path_factory.mktemp("finetune")
    study = tiny_finetune()
    return Tuned(study, run_finetune(study, results=results), results)
