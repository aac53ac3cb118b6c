"""The house holds: which room may import which, and no circle among modules."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import bounds
import layers

ROOT = Path(__file__).resolve().parent.parent
#: From the ground up; a room imports those before it, never those after. ``layers`` stands beside,
#: below ``results``: dumps and errors are all that is read of it.
ROOMS = {
    "layers": (
        "errors",
        "packages",
        "dump",
        "images",
        "networks",
        "capture",
        "extract",
        "finetuning",
    ),
    "bounds": (
        *("errors", "linalg", "problem", "quantization", "pruning", "layer", "certificate"),
        *("theory", "results", "gap", "study", "finetune", "audit", "fuzz", "present", "cli"),
    ),
}
#: Loaded by themselves: the verifier knows no other room, and packages name what is public.
APART = {"bounds.verify", "bounds", "layers"}
#: Public name -> the module that defines it.
HOMES = {f"bounds.{name}": home for name, home in bounds._HOMES.items()} | {
    f"layers.{name}": home for name, (home, _) in layers._LAZY.items()
}
LOOSE = {"__init__.py", "errors.py", "verify.py"}


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {
    module_of(path): path for package in ROOMS for path in sorted((ROOT / package).rglob("*.py"))
}


def imports(module: str) -> set[str]:
    """Modules of ours that a module imports anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(MODULES[module].read_bytes())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                # A public name is imported from where it is defined, whoever hands it on.
                home = HOMES.get(f"{node.module}.{alias.name}", node.module)
                inner = f"{home}.{alias.name}"
                found.add(inner if inner in MODULES else home)
    return found & set(MODULES)


GRAPH = {module: imports(module) - {module} for module in MODULES}


@pytest.mark.parametrize("package", ROOMS)
def test_no_room_imports_one_above_it(package):
    rank = {room: height for height, room in enumerate(ROOMS[package])}
    for module, targets in GRAPH.items():
        if module in APART or module.split(".")[0] != package:
            continue
        here = rank[module.split(".")[1]]
        for target in targets - APART:
            if target.split(".")[0] == package:
                assert rank[target.split(".")[1]] <= here, f"{module} imports {target}"


def test_layers_never_import_bounds():
    for module, targets in GRAPH.items():
        if module.startswith("layers"):
            assert not any(target.startswith("bounds") for target in targets), module


def test_no_module_imports_itself_by_a_detour():
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join((*path[path.index(module) :], module))
        if module not in done:
            for target in GRAPH[module] - APART:
                visit(target, (*path, module))
            done.add(module)

    for module in set(GRAPH) - APART:
        visit(module, ())


def test_no_loose_rooms():
    assert {path.name for path in (ROOT / "bounds").glob("*.py")} == LOOSE
    assert GRAPH["bounds.verify"] <= {"layers.dump.file", "layers.errors", "bounds.errors"}


def test_the_methods_of_the_table_are_loaded_when_first_used():
    assert not any(
        target.startswith(("bounds.quantization", "bounds.pruning"))
        for target in GRAPH["bounds.problem.methods"]
    )
