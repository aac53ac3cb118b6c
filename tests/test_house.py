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
        *("errors", "linalg", "problem", "quantization", "pruning", "joint", "layer"),
        *("certificate", "theory", "results", "gap", "study", "finetune", "audit", "fuzz"),
        *("present", "cli"),
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


#: Parameters that a function may have, and lines that a file may have.
MOST_PARAMETERS, MOST_LINES = 9, 400
#: Functions with more, and why.
MORE_PARAMETERS = {
    "bounds.quantization.solve.quantization_range": "public: its keywords hold for good",
    "bounds.layer.envelope.project_rows": "a kernel: the state and the grid of one step",
    "bounds.joint.solve.joint_range": "public: the keywords of both other ranges",
    "bounds.gap.judge.gap": "public: its keywords hold for good",
    "layers.extract.extract": "public: its keywords hold for good",
}
#: Files with more, and why.
MORE_LINES = {
    "bounds/verify.py": "one file, so that reading it is enough to trust it",
    "tests/references/certificate_checker.py": "the same, written from the format's page alone",
    "bounds/finetune/work.py": "a study from its TOML to its two tables, step by step",
    "bounds/gap/whole.py": "one layer judged, from its grid to what is proven",
    "bounds/joint/relaxation/barrier.py": "one derivation, to its Newton system",
    "tests/bounds/cli/test_cli.py": "one command after the other, on one study",
    "tests/bounds/gap/test_judge.py": "one layer judged on every kind of grid",
    "tests/bounds/study/run/test_running.py": "one study run, run again, and changed",
    "tests/bounds/test_bad_input.py": "one table of what is refused and how",
}


def long_signatures(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            args = node.args
            names = [a.arg for a in (*args.posonlyargs, *args.args, *args.kwonlyargs)]
            if len(names) - (names[:1] in (["self"], ["cls"])) > MOST_PARAMETERS:
                found.add(f"{module_of(path)}.{node.name}")
    return found


def test_no_function_takes_more_parameters_than_a_reader_can_hold():
    # A command's parameters are its options.
    paths = [path for module, path in MODULES.items() if not module.startswith("bounds.cli")]
    found = set().union(*map(long_signatures, paths))
    assert found - set(MORE_PARAMETERS) == set(), "group them, or argue an exception"


def test_no_file_is_longer_than_one_idea():
    paths = [path for room in (*ROOMS, "tests") for path in (ROOT / room).rglob("*.py")]
    lines = {str(p.relative_to(ROOT)): len(p.read_bytes().splitlines()) for p in paths}
    found = {name for name, count in lines.items() if count > MOST_LINES}
    assert found - set(MORE_LINES) == set(), "cut them, or argue an exception"
