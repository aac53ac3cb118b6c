"""What the two commands install is written down, version by version."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]


def project() -> dict[str, Requirement]:
    """What pyproject.toml asks for, but for the extras that name others of its extras."""
    table = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    wanted = [*table["build-system"]["requires"], *table["project"]["dependencies"]]
    for extra in table["project"]["optional-dependencies"].values():
        wanted += [text for text in extra if not text.startswith("layerbounds[")]
    found = map(Requirement, wanted)
    return {canonicalize_name(requirement.name): requirement for requirement in found}


@pytest.fixture(scope="module")
def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pinned = [line.split("==") for line in lines if not line.startswith("#")]
    assert all(len(pair) == 2 and re.fullmatch(r"[\w.]+", pair[1]) for pair in pinned)
    return {canonicalize_name(name): version for name, version in pinned}


def test_a_pinned_version_is_one_that_the_project_allows(pins):
    for name, requirement in project().items():
        assert requirement.specifier.contains(pins[name]), requirement


def test_what_packages_bring_with_them_is_pinned_too(pins):
    """As their metadata here say; other systems and Pythons may bring more."""
    waiting, seen = list(project().values()), set()
    while waiting:
        wanted = waiting.pop()
        if (key := (wanted.name, frozenset(wanted.extras))) in seen:
            continue
        seen.add(key)
        assert canonicalize_name(wanted.name) in pins, f"{wanted.name}: run make lock"
        try:
            needs = map(Requirement, requires(wanted.name) or [])
        except PackageNotFoundError:  # what only builds packages
            continue
        waiting += [
            need
            for need in needs
            if need.marker is None
            or any(need.marker.evaluate({"extra": extra}) for extra in ("", *wanted.extras))
        ]
    assert len(seen) > len(project())


def test_torch_is_the_version_whose_cpu_build_is_known(pins):
    assert pins["torch"] == "2.13.0"
