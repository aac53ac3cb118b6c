"""What can go wrong, through every door: a named error in one sentence, and nothing written."""

from __future__ import annotations

import json
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from torch import nn

from bounds import pruning_range, quantization_range
from bounds.errors import LayerboundsError, MethodError, ProblemError
from bounds.gap.judge import gap
from bounds.problem.gram import check_problem
from bounds.problem.grid import choose_scale
from bounds.problem.limits import DEFAULT_SECONDS, Limits
from bounds.problem.methods import methods
from bounds.quantization.relaxation import bound
from bounds.study import format_study
from layers.dump.file import FORMAT, VERSION, dump_path, read_dump, write_dump
from layers.images.preprocessing import Preprocessing
from tests.bounds.cli import test_cli
from tests.bounds.study.study_cases import TINY, tiny_study
from tests.layers import tiny

cli = test_cli.cli  # the same fixture
refused = test_cli.refused

POISONED = "tests.bounds.test_bad_input:poisoned"
PICKLED = "tests.bounds.test_bad_input:pickled"

GRAM = np.array([[4.0, 1.0, 0.5], [1.0, 3.0, 0.2], [0.5, 0.2, 2.0]])
WEIGHTS = np.array([[0.3, -1.2, 0.7], [1.0, 0.1, -0.4]])


def changed(array: np.ndarray, at: tuple[int, ...], value: float) -> np.ndarray:
    copy = array.copy()
    copy[at] = value
    return copy


#: Bad Gram or weights, and what the error says; each for every method of both problems.
NUMBERS = {
    "NaN in the gram": (changed(GRAM, (1, 2), np.nan), WEIGHTS, r"gram has a NaN .* \(1, 2\)"),
    "infinity in the gram": (changed(GRAM, (0, 0), np.inf), WEIGHTS, r"gram has a NaN or inf"),
    "NaN in the weights": (GRAM, changed(WEIGHTS, (1, 0), np.nan), r"weights has a NaN .*\(1, 0\)"),
    "infinity in the weights": (GRAM, changed(WEIGHTS, (0, 2), -np.inf), "weights has a NaN or"),
    "asymmetric": (changed(GRAM, (0, 1), 1.1), WEIGHTS, "gram is not symmetric"),
    "indefinite": (changed(changed(GRAM, (0, 1), 9), (1, 0), 9), WEIGHTS, "gram is indefinite"),
    "negative diagonal": (np.diag([1.0, -1.0, 1.0]), WEIGHTS, "gram is indefinite: diagonal"),
    "not square": (GRAM[:2], WEIGHTS, r"gram must be square \(n, n\)"),
    "one number": (np.float64(3.0), WEIGHTS, r"gram must be square \(n, n\)"),
    "other sizes": (GRAM, WEIGHTS[:, :2], r"weights must be \(channels, 3\)"),
    "three axes": (GRAM, WEIGHTS[None], r"weights must be \(channels, 3\)"),
    "no channels": (GRAM, WEIGHTS[:0], "weights are empty"),
    "text": (GRAM, WEIGHTS.astype(str), "weights must be real numbers"),
    "complex": (GRAM.astype(complex), WEIGHTS, "gram must be real numbers"),
    "objects": (GRAM.astype(object), WEIGHTS, "gram must be real numbers"),
    "truth values": (GRAM, WEIGHTS > 0, "weights must be real numbers"),
    "extended": (GRAM.astype(np.longdouble), WEIGHTS, "gram must be float64 or narrower"),
    "too large": (GRAM * 4e307, WEIGHTS, "gram has entries over"),
    "too much energy": (GRAM, WEIGHTS * 1e160, "beyond float64"),
    "ragged": (GRAM, [[0.3, -1.2, 0.7], [1.0]], "weights cannot be taken as an array"),
    "masked": (np.ma.masked_array(GRAM, GRAM > 3), WEIGHTS, "gram is a masked array"),
    "complex tensor": (torch.tensor(GRAM).to(torch.complex64), WEIGHTS, "gram must be real"),
    "truth tensor": (GRAM, torch.tensor(WEIGHTS) > 0, "weights must be real numbers"),
    "sparse tensor": (torch.tensor(GRAM).to_sparse(), WEIGHTS, "gram cannot be taken as an array"),
    "indefinite in float32": (
        np.array([[1, 1.000003, 0], [1.000003, 1, 0], [0, 0, 1]], np.float32),
        WEIGHTS,
        r"gram is indefinite .* accumulate X\^T X in float64",
    ),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_that_define_no_problem(name):
    gram, weights, message = NUMBERS[name]
    for method in methods("quantization"):
        with pytest.raises(ProblemError, match=message):
            quantization_range(gram, weights, bits=3, scale=0.3, method=method)
    for method in methods("pruning"):
        with pytest.raises(ProblemError, match=message):
            pruning_range(gram, weights, keep=1, method=method)


#: Limits and tolerances that are none, for both problems.
LIMITS = [
    *(
        ({"time_limit": value}, "time_limit must be positive seconds or None")
        for value in ("1", True, np.array([1.0, 2.0]), [1.0], 1j)
    ),
    *(
        ({"node_limit": value}, "node_limit must be a whole number of at least 1 or None")
        for value in (0, -5, 1.5, np.nan, np.inf, "10", True, np.array([7, 8]))
    ),
    *(
        ({"tolerance": value}, "tolerance must be a relative gap from 0 to 0.1")
        for value in (None, "1e-9", True, np.nan, np.inf, -1e-9, 0.2, 1e9, 10**400)
    ),
]


@pytest.mark.parametrize("method", ["rtn", "sdp", "exact"])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bits": 0}, "bits must be a whole number from 1 to 16, got 0"),
        ({"bits": 17}, "bits must be a whole number from 1 to 16, got 17"),
        ({"bits": -3}, "bits must be a whole number"),
        ({"bits": 2.5}, "bits must be a whole number"),
        ({"bits": True}, "bits must be a whole number"),
        ({"bits": "4"}, "bits must be a whole number"),
        ({"scale": 0.0}, "scale must be positive"),
        ({"scale": -0.1}, "scale must be positive"),
        ({"scale": np.nan}, "scale must be positive"),
        ({"scale": np.inf}, "scale must be positive"),
        ({"scale": [0.1, 0.0]}, "scale must be positive"),
        ({"scale": [0.1, 0.2, 0.3]}, "scale must be a positive number or one per channel"),
        ({"scale": "auto"}, "scale must be a positive number"),
        ({"scale": None}, "scale must be a positive number"),
        ({"time_limit": 0}, "time_limit must be positive"),
        ({"time_limit": -1.0}, "time_limit must be positive"),
        ({"time_limit": np.nan}, "time_limit must be positive"),
        *LIMITS,
        ({"seed": -1}, "seed must be a whole number of at least 0"),
        ({"seed": "1"}, "seed must be a whole number of at least 0"),
        ({"pairs": -1}, "pairs must be a whole number of at least 0"),
        ({"pairs": None}, "pairs must be a whole number of at least 0"),
        ({"scale": [[0.1], [0.1, 0.2]]}, "scale cannot be taken as an array"),
        ({"scale": np.ma.masked_array([0.1, 0.2], [True, False])}, "scale is a masked array"),
        ({"scale": True}, "scale must be real numbers"),
    ],
)
def test_options_of_quantization(method, options, message):
    good = {"bits": 3, "scale": 0.3}
    with pytest.raises(ProblemError, match=message):
        quantization_range(GRAM, WEIGHTS, **(good | options), method=method)


@pytest.mark.parametrize("method", ["magnitude", "perspective", "exact"])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keep": -1}, "keep must be an integer from 0 to 3"),
        ({"keep": 4}, "keep must be an integer from 0 to 3"),
        ({"keep": 1.5}, "keep must be an integer from 0 to 3"),
        ({"keep": True}, "keep must be an integer from 0 to 3"),
        ({"keep": np.nan}, "keep must be an integer from 0 to 3"),
        ({"keep": np.inf}, "keep must be an integer from 0 to 3"),
        ({"keep": "2"}, "keep must be an integer from 0 to 3"),
        ({"keep": 10**400}, "keep must be an integer from 0 to 3"),
        ({"keep": None}, "keep"),
        ({"box": 0.0}, "box must be a positive factor"),
        ({"box": -2.0}, "box must be a positive factor"),
        ({"box": np.nan}, "box must be a positive factor"),
        ({"time_limit": 0}, "time_limit must be positive"),
        ({"box": np.inf}, "box must be a positive factor"),
        ({"box": "2"}, "box must be a positive factor"),
        ({"box": True}, "box must be a positive factor"),
        ({"box": np.array([1.0, 2.0])}, "box must be a positive factor"),
        *LIMITS,
    ],
)
def test_options_of_pruning(method, options, message):
    with pytest.raises(ProblemError, match=message):
        pruning_range(GRAM, WEIGHTS, **({"keep": 1} | options), method=method)


def test_unknown_methods_list_the_known():
    with pytest.raises(MethodError, match=r"'best'.*rtn.*exact"):
        quantization_range(GRAM, WEIGHTS, bits=3, scale=0.3, method="best")
    with pytest.raises(MethodError, match=r"'gptq'.*magnitude.*exact"):
        pruning_range(GRAM, WEIGHTS, keep=1, method="gptq")
    with pytest.raises(MethodError, match=r"'best'.*minmax"):
        choose_scale(WEIGHTS, 3, rule="best")
    with pytest.raises(ProblemError, match="NaN"):
        choose_scale(changed(WEIGHTS, (0, 0), np.nan), 3)
    for wrong in ("x", [[1.0], [1.0, 2.0]], np.ma.masked_array(WEIGHTS, WEIGHTS > 0)):
        with pytest.raises(ProblemError, match="weights"):
            choose_scale(wrong, 4)


def test_indefinite_in_float64_is_given_no_advice_on_float32():
    gram = changed(changed(GRAM, (0, 1), 9.1), (1, 0), 9.1)
    with pytest.raises(ProblemError, match=r"semidefinite$"):
        check_problem(gram, WEIGHTS)
    with pytest.raises(ProblemError, match="accumulate"):
        check_problem(gram.astype(np.float32).astype(np.float64), WEIGHTS)


@pytest.mark.parametrize("kind", [torch.float64, torch.float32, torch.bfloat16])
def test_tensors_are_taken_off_their_graph_and_widened(kind):
    weights = torch.tensor(WEIGHTS).to(kind).requires_grad_()
    plain = weights.detach().double().numpy()
    for given in (weights, torch.nn.Parameter(weights.detach())):
        q = quantization_range(torch.tensor(GRAM), given, bits=3, scale=torch.tensor(0.25))
        assert (q.upper == quantization_range(GRAM, plain, bits=3, scale=0.25).upper).all()
        p = pruning_range(torch.tensor(GRAM), given, keep=1)
        assert (p.upper == pruning_range(GRAM, plain, keep=1).upper).all()
        assert choose_scale(given, 4) == choose_scale(plain, 4)


def test_limits_that_are_as_good_as_none():
    choices: list[dict[str, Any]] = [
        {"node_limit": 10**30},
        {"node_limit": 1e6},
        {"time_limit": np.inf},
    ]
    for options in choices:
        q = quantization_range(GRAM, WEIGHTS, bits=3, scale=0.3, **options)
        p = pruning_range(GRAM, WEIGHTS, keep=1, **options)
        assert (q.status == "exact").all() and (p.status == "exact").all()
    assert Limits(np.inf, 10**30) == Limits(None, 2**63 - 1)
    numpy: Any = np.float32(2), np.int8(3)
    assert Limits(*numpy) == Limits(2.0, 3)
    pruning_range(GRAM, WEIGHTS, keep=1, method="scip", time_limit=np.inf, node_limit=10**30)


def test_one_default_limit_for_every_search():
    for solve in (quantization_range, pruning_range, gap):
        assert signature(solve).parameters["time_limit"].default == DEFAULT_SECONDS == 10.0


def test_no_more_pairs_than_there_are_cuts(monkeypatch):
    real, rooms = bound.solve_dual, []

    def spied(*args):
        rooms.append(args[5])
        return real(*args)

    monkeypatch.setattr(bound, "solve_dual", spied)
    rows = np.random.default_rng(0).standard_normal((20, 5))
    options = {"bits": 3, "scale": 0.5, "method": "sdp"}
    all_cuts = quantization_range(rows.T @ rows, rows[:2], **options, pairs=20)
    found = quantization_range(rows.T @ rows, rows[:2], **options, pairs=10**9)
    assert (found.lower == all_cuts.lower).all()
    assert max(rooms) <= bound.CUTS_PER_INPUT * 5 + bound.CUT_ROUNDS * 5 * 4


# ---------------------------------------------------------------- dumps, through every command


@pytest.fixture
def head(ran):
    return dump_path(ran.dumps, TINY, "head")


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def altered(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-50] ^= 1
    path.write_bytes(bytes(data))


def newer(path: Path) -> None:
    from safetensors import safe_open

    with safe_open(str(path), framework="numpy") as file:
        header = json.loads(file.metadata()[FORMAT])
    header["version"] = VERSION + 1
    save_file(load_file(path), path, metadata={FORMAT: json.dumps(header)})


def foreign(path: Path) -> None:
    save_file(load_file(path), path)


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (truncated, "truncated"),
        (altered, "altered"),
        (newer, f"version {VERSION + 1} is newer than {VERSION}"),
        (foreign, "foreign"),
        (empty, "not a readable dump"),
        (Path.unlink, "there is no dump"),
    ],
)
def test_bad_dumps_through_every_command(cli, head, tmp_path, damage, words):
    bad = tmp_path / "in" / "bad.safetensors"
    bad.parent.mkdir()
    bad.write_bytes(head.read_bytes())
    damage(bad)
    weights = tmp_path / "in" / "w.npy"
    np.save(weights, read_dump(head).weights)
    out = tmp_path / "out"
    refused(cli("solve", bad, "--bits", 3, "--certificate", out / "c.jsonl"), str(bad), words)
    refused(cli("anytime", bad, "--bits", 3, "--out", out / "a"), str(bad), words)
    refused(cli("gap", bad, "--weights", weights, "--bits", 3, "--out", out / "g.csv"), words)
    certificate = tmp_path / "in" / "c.jsonl"
    assert cli("solve", head, "--bits", 2, "--size", 4, "--certificate", certificate)[0] == 0
    code, said, _ = cli("verify", certificate, "--dump", bad)
    assert code == 1 and said.startswith("not verified: ") and words in said
    assert not out.exists()


def test_a_dump_damaged_between_two_runs_is_made_again(cli, ran, images, tmp_path):
    dumps = tmp_path / "dumps"
    dumps.mkdir()
    for path in ran.dumps.iterdir():
        (dumps / path.name).write_bytes(path.read_bytes())
    damaged = dump_path(dumps, TINY, "head")
    whole = damaged.read_bytes()
    truncated(damaged)
    file = tmp_path / "tiny.toml"
    file.write_text(format_study(tiny_study(images)), "utf-8")
    code, out, _ = cli("study", file, "--results", tmp_path / "results", "--dumps", dumps)
    assert code == 0 and "0 failed" in out
    assert damaged.read_bytes() == whole


def test_names_in_a_dump_lead_nowhere(cli, head, tmp_path):
    """A dump that calls itself a path is solved and certified; only the file asked for appears."""
    evil = replace(read_dump(head), source="../../outside", layer="/tmp/../etc/passwd")
    folder = tmp_path / "deep" / "in"
    folder.mkdir(parents=True)
    path = dump_path(folder, evil.source, evil.layer)
    assert path.parent == folder
    write_dump(path, evil)
    certificate = tmp_path / "deep" / "c.jsonl"
    before = {p for p in tmp_path.rglob("*")}
    code, _, _ = cli("solve", path, "--bits", 2, "--size", 4, "--certificate", certificate)
    assert code == 0 and cli("verify", certificate, "--dump", path)[0] == 0
    assert {p for p in tmp_path.rglob("*")} - before == {certificate}


def test_a_study_cannot_be_named_out_of_its_folder(cli, images, tmp_path):
    file = tmp_path / "up.toml"
    text = format_study(tiny_study(images)).replace('name = "tiny"', 'name = "../up"')
    file.write_text(text, "utf-8")
    refused(cli("study", file, "--results", tmp_path / "results"), "../up", "letters")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["up.toml"]


# ---------------------------------------------------------------- networks


class Poison(nn.Module):
    """The tiny network, its activations NaN where a photograph is bright enough."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(torch.where(x.mean() > -1e9, torch.full_like(x, torch.nan), x))


def poisoned() -> tuple[nn.Module, Preprocessing]:
    net, preprocessing = tiny.network()
    return Poison(net), preprocessing


class Payload:
    """Pickled, it would write a file when it is read."""

    where = ""

    def __reduce__(self):
        return (Path.touch, (Path(self.where),))


def pickled() -> tuple[nn.Module, Preprocessing]:
    from layers.networks.checkpoint import load_state

    load_state(Path(Payload.where).with_name("checkpoint.pt"))
    raise AssertionError("it was read")


def extract(cli, source: str, images: Path, out: Path) -> tuple[int, str, str]:
    return cli("extract", source, "net.head", "--images", images, "--out", out, "--heldout", 2)


def test_nan_activations(cli, images, tmp_path):
    out = tmp_path / "dumps"
    refused(
        extract(cli, POISONED, images, out), "net.head", "NaN or infinite activations", "image_"
    )
    study = tiny_study(images)
    layer = replace(study.layers[1], source=POISONED, names=("net.head",))
    file = tmp_path / "tiny.toml"
    file.write_text(format_study(replace(study, layers=(layer,))), "utf-8")
    results = tmp_path / "results"
    refused(cli("study", file, "--results", results, "--dumps", out), "NaN or infinite activations")
    left = [p for p in tmp_path.rglob("*") if p.is_file()]
    assert left == [file]


def test_a_checkpoint_with_pickled_code(cli, images, tmp_path):
    Payload.where = str(tmp_path / "ran")
    torch.save({"weight": torch.zeros(1), "payload": Payload()}, tmp_path / "checkpoint.pt")
    out = tmp_path / "dumps"
    refused(extract(cli, PICKLED, images, out), "checkpoint.pt")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint.pt"]


# ---------------------------------------------------------------- places that cannot be written


def writing_commands(ran, images: Path, file: Path) -> dict[str, tuple]:
    """Every command that writes, with {} for where."""
    head = dump_path(ran.dumps, TINY, "head")
    study, table = tiny_study(images), ran.results / "tiny"
    few = replace(study.solve, quantization=("rtn",), pruning=("magnitude",), bits=(2,))
    file.write_text(format_study(replace(study, solve=few)), "utf-8")
    return {
        "extract": ("extract", TINY, "stem", "--images", images, "--heldout", 2, "--out", "{}"),
        "solve": ("solve", head, "--bits", 2, "--size", 4, "--certificate", "{}/c.jsonl"),
        "study": ("study", file, "--dumps", ran.dumps, "--results", "{}"),
        "figure": ("figure", table, "--out", "{}/f"),
        "table": ("table", table, "--out", "{}"),
        "report": ("report", table, "--out", "{}/r.html"),
        "anytime": ("anytime", head, "--bits", 2, "--size", 4, "--out", "{}/a"),
    }


WRITING = ("extract", "solve", "study", "figure", "table", "report", "anytime")


def at(arguments: tuple, folder: Path) -> list[str]:
    return [str(argument).format(folder) for argument in arguments]


@pytest.mark.parametrize("command", WRITING)
def test_places_that_cannot_be_written(cli, ran, images, tmp_path, command):
    """Below a file, and in /proc: both fail for root too."""
    arguments = writing_commands(ran, images, tmp_path / "study.toml")[command]
    (tmp_path / "file").write_text("in the way")
    for folder in (tmp_path / "file" / "out", Path("/proc/layerbounds")):
        refused(cli(*at(arguments, folder)), str(folder))
    assert (tmp_path / "file").read_text() == "in the way"


@contextmanager
def no_room(size: int) -> Iterator[None]:
    """No file may grow beyond ``size`` bytes: writes fail as on a full disk, whoever writes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("command", WRITING)
def test_a_disk_without_room(cli, ran, images, tmp_path, command):
    arguments = writing_commands(ran, images, tmp_path / "study.toml")[command]
    assert cli(*at(arguments, tmp_path / "first"))[0] == 0  # kernels compiled, fonts found
    with no_room(200):
        refused(cli(*at(arguments, tmp_path / "full")), "full")
    assert [p for p in (tmp_path / "full").rglob("*") if p.is_file()] == []


def test_every_error_of_ours_has_one_root():
    from bounds import errors
    from layers import errors as outer

    found = [
        e
        for module in (errors, outer)
        for e in vars(module).values()
        if isinstance(e, type) and issubclass(e, Exception)
    ]
    assert len(found) > 8
    assert all(issubclass(e, LayerboundsError) for e in found)
