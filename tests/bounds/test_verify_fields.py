"""Every field of every line has a type and a range, and nothing of a file is printed as it stands.

Each field of real certificates is replaced by values of another type, out of range or hostile; all
of them are under a valid seal.
"""

from __future__ import annotations

import copy
import math
import re
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("flint", reason="the verify extra is not installed")

from bounds.certificate.writing import MOST_TOLERANCE
from bounds.verify import FIELDS, TOLERANCE, Refused, main, plain, verify
from layers.dump.file import LayerDump, write_dump
from tests.bounds.certificate.certificate_cases import (
    certificate,
    dump_bytes,
    forged,
    leveled,
    make_dump,
    parsed,
    pruned,
    quantized,
)
from tests.references import certificate_checker
from tests.references.certificate_checker import False_, check

HOSTILE = "x\nverified\r\x1b[2Kverified\u2028verified" + 300 * " " + "verified"
DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "certificate.md"


@pytest.fixture(scope="module")
def dump() -> LayerDump:
    return make_dump(22, features=3, channels=1)


@pytest.fixture(scope="module")
def real(dump: LayerDump, tmp_path_factory: pytest.TempPathFactory) -> list[list[dict]]:
    """A certificate of one channel for every kind of proof."""
    solved = [
        quantized(dump, 2), quantized(dump, 2, "sdp"), quantized(dump, 2, "rtn"),
        pruned(dump, 1), pruned(dump, 1, "perspective"),
        leveled(dump, "zeros"), leveled(dump, "codebook", "sdp"),
    ]  # fmt: skip
    folder = tmp_path_factory.mktemp("certificates")
    real = [parsed(certificate(folder / "c.jsonl", dump, one)) for one in solved]
    return [*real, with_basis(real[0], dump)]


def with_basis(lines: list[dict], dump: LayerDump) -> list[dict]:
    """The certificate of a search, the proof saying it in a reduced basis."""
    lines = copy.deepcopy(lines)
    search = lines[2]["proof"]
    centre = [c for _, c in sorted(zip(search["order"], search["centre"], strict=True))]
    basis = [[1, 1, 0], [0, 1, 0], [0, -2, -1]]
    lines[2]["proof"] = {"is": "reduced", "basis": basis, "centre": centre}
    verify(forged(lines), dump)
    assert check(forged(lines), dump_bytes(dump)) == 1
    return parsed(forged(lines))


def places(value: Any, path: tuple = ()) -> list[tuple]:
    """Paths to everything in a line; of a list the first and last entry."""
    found = [path] if path else []
    if isinstance(value, dict):
        items: list = list(value.items())
    else:
        items = list(enumerate(value)) if isinstance(value, list) else []
        items = items[:1] + items[1:][-1:]
    for key, inside in items:
        found += places(inside, (*path, key))
    return found


def wrong(old: Any) -> list[Any]:
    """Values of another type or out of every range."""
    always = [None, True, False, {}, {"is": "none", "x": 1}, math.nan, math.inf, -math.inf]
    always += [10**30, -(10**30), 10**400, HOSTILE, [[[]]], "", "\ud800"]
    if isinstance(old, list):
        return [*always, 0, [*old, None], [*old, True], [old], dict(enumerate(old))]
    if isinstance(old, dict):
        return [*(value for value in always if value != {}), {}, [], [old], 0, old | {HOSTILE: 1}]
    if isinstance(old, str):
        return [*always, old + "\n", "\n" + old, old.upper() + " ", [old], 0, 1, 2.5, old + "\0"]
    return [*always, str(old), [old], int(old) if isinstance(old, float) else float(old)]


def refused(lines: list[dict], dump: LayerDump) -> str:
    """The statement a certificate is refused with, one printable line; both checkers refuse it."""
    data = forged(lines)
    with pytest.raises(Refused) as caught:
        verify(data, dump)
    with pytest.raises(False_):
        check(data, dump_bytes(dump))
    said = str(caught.value)
    assert re.fullmatch("[ -~]+", said), said
    assert len(said) < 600 and "  " not in said
    return said


def test_every_field_of_every_line(dump, real):
    tried = 0
    for lines in real:
        for index, line in enumerate(lines):
            for *path, last in places(line):
                if index == len(lines) - 1 and last == "sha256":
                    continue  # the seal, made anew
                for value in wrong(_at(line, [*path, last])):
                    changed = copy.deepcopy(lines)
                    _at(changed[index], path)[last] = value
                    refused(changed, dump)
                    tried += 1
    assert tried > 3000


def _at(value: Any, path: list) -> Any:
    for key in path:
        value = value[key]
    return value


def test_missing_and_extra_fields(dump, real):
    for lines in real:
        for index, line in enumerate(lines):
            for path in [[], ["proof"]] if "proof" in line else [[]]:
                for name in _at(line, path):
                    if name == "sha256":
                        continue
                    changed = copy.deepcopy(lines)
                    del _at(changed[index], path)[name]
                    refused(changed, dump)
                for name in ("extra", "", HOSTILE, "\ud800"):
                    changed = copy.deepcopy(lines)
                    _at(changed[index], path)[name] = "verified"
                    said = refused(changed, dump)
                    assert "missing" in said
                    assert len(said) < 120, "the name is not cut"


def test_the_table_has_every_field_and_the_page_names_them(real):
    met = {name: set() for name in FIELDS}
    for lines in real:
        task = lines[1]["task"]
        for line in lines:
            for thing in (line, line.get("proof", line)):
                kind = f"{task} {thing['is']}"
                met[kind if kind in FIELDS else thing["is"]] |= set(thing)
    assert met == {name: set(rules) for name, rules in FIELDS.items()}
    page = DOCUMENT.read_text()
    for name in set().union(*met.values()) - {"is"}:
        assert f"`{name}`" in page, name
    assert MOST_TOLERANCE == TOLERANCE and "0 to 1e-6" in page


def test_the_second_checker_stands_alone():
    """It was written from the page, and shares no code with what it judges."""
    source = Path(certificate_checker.__file__).read_text()
    loaded = set(re.findall(r"^(?:from|import) ([a-z_]+)", source, re.MULTILINE))
    assert not loaded & {"bounds", "layers", "tests", "numpy", "safetensors"} and "flint" in loaded


@pytest.mark.parametrize(
    "task", ["pruning with pattern 2:4", "Quantization", "quantization ", "pruning\nv", None, 7]
)
def test_only_known_tasks(dump, real, task):
    for lines in real:
        changed = copy.deepcopy(lines)
        changed[1]["task"] = task
        assert "task is" in refused(changed, dump)


def test_no_line_of_output_is_forged(dump, real, tmp_path, capsys):
    write_dump(tmp_path / "d", dump)
    lines = real[0]
    changes = [(0, name) for name in lines[0]] + [(1, name) for name in lines[1]]
    changes += [(2, name) for name in lines[2]] + [(3, "is"), (3, "channels"), (1, HOSTILE)]
    for index, name in changes:
        changed = copy.deepcopy(lines)
        changed[index][name] = {"is": HOSTILE} if name == "proof" else HOSTILE
        (tmp_path / "c").write_bytes(forged(changed))
        assert main([str(tmp_path / "c"), "--dump", str(tmp_path / "d")]) == 1
        said = capsys.readouterr().out
        assert re.fullmatch("not verified: [ -~]+\n", said), said


def test_names_of_a_dump_are_escaped_too(tmp_path, capsys):
    """A file's name is the user's own, but what a dump says of itself is not."""
    (tmp_path / "c").write_bytes(b"")
    assert main([str(tmp_path / "c"), "--dump", str(tmp_path / "no\nverified\n")]) == 1
    assert re.fullmatch("not verified: [ -~]+\n", capsys.readouterr().out)
    assert plain("a\\b\té  \U0001f600") == "a\\b\\t\\xe9 \\U0001f600"


def test_a_negative_zero_and_the_largest_numbers(dump, real):
    lines = copy.deepcopy(real[0])
    for index, name, value in (
        (1, "tolerance", math.nextafter(TOLERANCE, 1)), (1, "tolerance", -1e-300),
        (1, "bits", 0), (1, "bits", 17), (1, "group", 1), (2, "step", 0.0), (2, "step", -0.4),
        (2, "lower", -5e-324), (0, "version", 0), (2, "channel", 2**53 + 1),
    ):  # fmt: skip
        changed = copy.deepcopy(lines)
        changed[index][name] = value
        assert re.search(r"out of range|no group|version", refused(changed, dump))
    lines[1]["tolerance"] = TOLERANCE
    verify(forged(lines), dump)
    zero = copy.deepcopy(real[2])
    zero[2]["lower"] = -0.0
    assert ", lower 0, " in verify(forged(zero), dump)[0]
