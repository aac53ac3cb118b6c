"""The verifier refuses what is altered, and never verifies a claim that brute force contradicts."""

from __future__ import annotations

import copy
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("flint", reason="the verify extra is not installed")

from bounds.certificate import write_certificate
from bounds.verify import Refused, main, verify
from layers.dump.file import LayerDump, write_dump
from tests.bounds.certificate.certificate_cases import (
    certificate,
    forged,
    leveled,
    make_dump,
    parsed,
    pruned,
    quantized,
    untrue,
)

ROOT = Path(__file__).resolve().parent.parent.parent
BYTE_MUTATIONS = 300
FORGERIES = 900


@pytest.fixture(scope="module")
def dump() -> LayerDump:
    return make_dump(20, features=5)


@pytest.fixture(scope="module")
def genuine(dump: LayerDump, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Every kind of proof in one file."""
    solved = quantized(dump, 2) + quantized(dump, 2, "sdp", 0.41)
    solved += pruned(dump, 2) + pruned(dump, 3, "perspective") + pruned(dump, 1, "obs")
    data = certificate(tmp_path_factory.mktemp("certificate") / "c.jsonl", dump, solved)
    kinds = {line["proof"]["is"] for line in parsed(data) if "proof" in line}
    assert kinds == {"search", "dual", "cover", "none"}
    assert len(verify(data, dump)) == 5
    return data


# ---------------------------------------------------------------- files


def test_any_altered_byte_is_refused(dump, genuine):
    rng = np.random.default_rng(0)
    for _ in range(BYTE_MUTATIONS):
        place = int(rng.integers(len(genuine)))
        choices = b'0123456789-+.,:[]{}"e truefalsn\n\x00\xff'
        byte = choices[int(rng.integers(len(choices)))]
        for altered in (
            genuine[:place] + bytes([byte]) + genuine[place + 1 :],
            genuine[:place] + genuine[place + 1 :],
            genuine[:place] + bytes([byte]) + genuine[place:],
        ):
            if altered != genuine:
                with pytest.raises(Refused):
                    verify(altered, dump)


def test_truncated_files_are_refused(dump, genuine):
    rng = np.random.default_rng(1)
    cuts = {0, 1, len(genuine) - 1, *rng.integers(len(genuine), size=40).tolist()}
    cuts |= {i + 1 for i, byte in enumerate(genuine[:-1]) if byte == 10}
    for cut in cuts:
        with pytest.raises(Refused, match=r"truncated|not a certificate|not closed|seal"):
            verify(genuine[:cut], dump)


def test_newer_version_and_foreign_files(dump, genuine):
    lines = parsed(genuine)
    for version, message in ((3, "version 3 .* upgrade"), (0, "version 0"), (True, "integer")):
        lines[0]["version"] = version
        with pytest.raises(Refused, match=message):
            verify(forged(lines), dump)
    with pytest.raises(Refused, match="not a certificate of layerbounds"):
        verify(b'{"is":"other"}\n{"is":"end"}\n', dump)
    with pytest.raises(Refused, match="given twice"):
        verify(genuine.replace(b'{"channel"', b'{"channel":0,"channel"', 1), dump)


def test_other_dumps_are_refused(dump, genuine):
    with pytest.raises(Refused, match="another dump"):
        verify(genuine, make_dump(21, features=5))
    lines = parsed(genuine)
    other = make_dump(21, features=5)
    lines[0]["dump"] = other.content_hash
    with pytest.raises(Refused, match=r"line 3 \(channel 0\): .*hash of the problem"):
        verify(forged(lines), other)
    lines[0]["layer"] = "c"
    with pytest.raises(Refused, match="another layer"):
        verify(forged(lines), other)


def test_program(dump, genuine, tmp_path, capsys):
    file, dumped = tmp_path / "c.jsonl", tmp_path / "d.safetensors"
    file.write_bytes(genuine)
    write_dump(dumped, dump)
    assert main([str(file), "--dump", str(dumped)]) == 0
    printed = capsys.readouterr().out
    assert printed.endswith("\nverified\n")
    said = "2 bits, weights fp16: 2 of 2 channels (2 exact; exact to 1e-09, or 1e-13 of the energy)"
    assert said in printed
    file.write_bytes(genuine[:-10])
    assert main([str(file), "--dump", str(dumped)]) == 1
    assert capsys.readouterr().out.startswith("not verified: ")
    assert main([str(tmp_path / "no"), "--dump", str(dumped)]) == 1
    dumped.write_bytes(dumped.read_bytes()[:-1])
    file.write_bytes(genuine)
    assert main([str(file), "--dump", str(dumped)]) == 1


def test_program_runs_alone_and_loads_no_solver(dump, genuine, tmp_path):
    (tmp_path / "c.jsonl").write_bytes(genuine)
    write_dump(tmp_path / "d.safetensors", dump)
    script = (
        "import sys; from bounds.verify import main; code = main(sys.argv[1:])\n"
        "loaded = [m for m in sys.modules if m.startswith('bounds.') or m in ('numba', 'torch')]\n"
        "assert loaded == ['bounds.verify'], loaded; sys.exit(code)"
    )
    arguments = [str(tmp_path / "c.jsonl"), "--dump", str(tmp_path / "d.safetensors")]
    for command in (["-c", script], ["-m", "bounds.verify"]):
        done = subprocess.run(
            [sys.executable, *command, *arguments], cwd=ROOT, capture_output=True, text=True,
            timeout=100, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "verified"), done.stderr


# ---------------------------------------------------------------- forgeries under a valid seal


def places(value: Any, path: tuple = ()) -> list[tuple]:
    """Paths to everything inside a line."""
    found = [path] if path else []
    if isinstance(value, dict):
        items: Any = value.items()
    else:
        items = enumerate(value) if isinstance(value, list) else ()
    for key, inside in items:
        found += places(inside, (*path, key))
    return found


def mutate(lines: list[dict], rng: np.random.Generator) -> None:
    """Change one thing somewhere."""
    holder: Any = lines[int(rng.integers(1, len(lines) - 1))]
    options = places(holder)
    # As often a field of the line as an entry of its proof.
    if rng.random() < 0.5:
        options = [option for option in options if len(option) == 1]
    *path, last = options[int(rng.integers(len(options)))]
    for key in path:
        holder = holder[key]
    old = holder[last]
    kind = int(rng.integers(6))
    if isinstance(old, bool) or old is None or isinstance(old, str):
        holder[last] = ["exact", "certified", "heuristic", "none", "fp16", None, 1][kind]
    elif isinstance(old, int):
        holder[last] = [old + 1, old - 1, -old, 0, float(old) + 0.5, 10**30][kind]
    elif isinstance(old, float):
        up = math.nextafter(old, math.inf)
        holder[last] = [up, old * (1 + 1e-6), old * 2, -old, 0.0, old * (1 - 1e-6)][kind]
    elif isinstance(old, list) and old:
        where = int(rng.integers(len(old)))
        if kind < 2:
            del old[where]
        elif kind < 4:
            old.insert(where, copy.deepcopy(old[int(rng.integers(len(old)))]))
        else:
            other = int(rng.integers(len(old)))
            old[where], old[other] = old[other], old[where]
    else:
        del holder[last]


def test_a_forgery_verifies_only_if_it_is_true(dump, genuine):
    rng = np.random.default_rng(2)
    lines = parsed(genuine)
    refused = same = other_true = 0
    for _ in range(FORGERIES):
        changed = copy.deepcopy(lines)
        mutate(changed, rng)
        if changed == lines:
            same += 1
            continue
        try:
            verify(forged(changed), dump)
        except Refused:
            refused += 1
            continue
        # Verified all the same: then all it claims must be so (a smaller lower value, say).
        assert untrue(dump, changed) == []
        other_true += 1
    assert refused > 0.6 * FORGERIES, (refused, same, other_true)


def test_every_field_outside_the_proof_is_checked(dump, genuine):
    """Only the lower value may be another one (smaller), and the proof."""
    lines = parsed(genuine)
    for index, line in enumerate(lines[1:-1], 1):
        for name in line:
            if name in ("lower", "proof", "tolerance"):
                continue
            changed = copy.deepcopy(lines)
            old = changed[index][name]
            if isinstance(old, list):
                if not old:
                    continue
                # one unit in the last place of a fitted value can attain the same upper value
                old[0] = old[0] * 1.001 if isinstance(old[0], float) else old[0] + 1
            elif isinstance(old, str):
                changed[index][name] = {"exact": "heuristic", "fp16": "none"}.get(old, "exact")
            else:
                changed[index][name] = old + 1 if type(old) is int else math.nextafter(old, 9e9)
            with pytest.raises(Refused):
                verify(forged(changed), dump)
        for change in ({"extra": 1}, {"is": "line"}):
            changed = copy.deepcopy(lines)
            changed[index] |= change
            with pytest.raises(Refused):
                verify(forged(changed), dump)


def test_repeated_and_missing_channels(dump, genuine):
    lines = parsed(genuine)
    with pytest.raises(Refused, match="there twice"):
        verify(forged([*lines[:3], lines[2], *lines[3:]]), dump)
    with pytest.raises(Refused, match="number of channels"):
        verify(forged([*lines[:3], *lines[4:]]), dump)
    with pytest.raises(Refused, match="neither a chunk"):
        verify(forged([lines[0], *lines[2:]]), dump)


@pytest.mark.parametrize(
    "task",
    ["search", "cover", "quantization dual", "pruning dual", "levels search", "levels dual"],
)
def test_claims_above_the_truth_are_refused(tmp_path, task):
    """With a worse solution there is room above the truth; 1e-6 into it is refused."""
    for seed in range(6):
        dump = make_dump(30 + seed, features=5, channels=1)
        method = {"search": "exact", "cover": "exact", "quantization dual": "sdp"}
        if "levels" in task:
            kind = "exact" if "search" in task else "sdp"
            solved, worse = (leveled(dump, "codebook", name) for name in (kind, "rtn"))
        elif task in ("search", "quantization dual"):
            solved, worse = quantized(dump, 2, method[task]), quantized(dump, 2, "rtn")
        else:
            solved = pruned(dump, 2, method.get(task, "perspective"))
            worse = pruned(dump, 2, "magnitude")
        lines = parsed(certificate(tmp_path / "c.jsonl", dump, solved))
        bad = parsed(certificate(tmp_path / "w.jsonl", dump, worse))
        channel = lines[2]
        best = channel["lower"] if "dual" in task else channel["upper"]
        for name in ("upper", "codes", "support", "values"):
            if name in channel:
                channel[name] = bad[2][name]
        if channel["upper"] < best * (1 + 1e-5):
            continue
        channel["status"] = "certified"
        verify(forged(lines), dump)
        channel["lower"] = best * (1 + 1e-6)
        with pytest.raises(Refused, match=r"below the lower bound|is only shown|shows only"):
            verify(forged(lines), dump)
        break
    else:
        pytest.fail("no case with a worse solution")


def test_out_of_range_numbers_are_refused_not_raised(dump, genuine):
    for text in (b"1e999", b"NaN", b"1e308", b"-Infinity", b"null", b'"1"', b"true"):
        for name in (b'"upper":', b'"lower":', b'"step":', b'"energy":'):
            start = genuine.index(name) + len(name)
            stop = min(genuine.index(end, start) for end in (b",", b"}") if end in genuine[start:])
            altered = genuine[:start] + text + genuine[stop:]
            with pytest.raises(Refused):
                verify(altered, dump)
            try:
                lines = [json.loads(line) for line in altered.splitlines()]
                resealed = forged(lines)
            except ValueError:
                continue
            with pytest.raises(Refused):
                verify(resealed, dump)


def test_writing_checks_every_proof(dump, tmp_path, monkeypatch):
    """A proof that does not hold is not written; the claim shrinks to what can be shown."""
    monkeypatch.setattr("bounds.certificate.cover.MARGIN", -0.5)
    write_certificate(tmp_path / "c.jsonl", dump, pruned(dump, 2))
    data = (tmp_path / "c.jsonl").read_bytes()
    verify(data, dump)
    assert untrue(dump, parsed(data)) == []
