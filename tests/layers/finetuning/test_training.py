"""Training end to end: both compressions, equal bits, kills, and what is refused."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from layers.errors import FinetuneError
from layers.finetuning.checkpoint import NAME
from layers.finetuning.compression import Prune, Quantize
from layers.finetuning.examples import Examples, Held
from layers.finetuning.training import Moment, Training, restart_weights, train
from layers.networks.torch_module import fingerprint
from tests.layers.finetuning.tiny_task import examples, network, slow_run, tensors

QUICK = Training(epochs=2, batch=8, seed=3)
COMPRESSIONS = {
    "none": None,
    "quantize": Quantize(3, rate=1e-3),
    "channel": Quantize(2, "channel", rate=1e-3),
    "prune": Prune(0.75, updates=6),
    "global": Prune(0.75, scope="global", updates=6),
}


def trained(training=QUICK, kind="none", **more):
    net = network()[0]
    outcome = train(net, examples(), training, compression=COMPRESSIONS[kind], **more)
    return net, outcome


@pytest.mark.parametrize("kind", COMPRESSIONS)
def test_two_epochs_from_end_to_end(kind):
    moments: list[Moment] = []
    net, outcome = trained(kind=kind, progress=moments.append)
    assert [m.step for m in moments] == list(range(1, 13)) and moments[-1].steps == 12
    assert moments[-1].epoch == 2 and len(outcome.history) == 2
    assert moments[-1].loss == outcome.history[-1][0]
    assert 0 <= outcome.accuracy <= 1 and outcome.kept.keys() == {"conv", "depthwise", "head"}
    assert not any(hasattr(m, "parametrizations") for m in net.modules())
    weights = {name: net.get_parameter(f"{name}.weight").detach() for name in outcome.kept}
    if kind in ("quantize", "channel"):
        for name, weight in weights.items():
            rows = weight.reshape(len(weight), -1)
            step = torch.tensor(outcome.steps[name]).reshape(-1, 1)
            codes = (rows / step).round()
            assert torch.equal(codes * step, rows)
            low = -(2 ** (COMPRESSIONS[kind].bits - 1))
            assert codes.min() >= low and codes.max() < -low
            assert len(step) == (len(rows) if kind == "channel" else 1)
    if kind == "prune":
        assert outcome.kept == {"conv": 9, "depthwise": 9, "head": 27}
    if kind == "global":
        assert sum(outcome.kept.values()) == 45
    counts = {name: int((weight != 0).sum()) for name, weight in weights.items()}
    assert counts == outcome.kept


def test_longer_training_solves_the_task():
    _, outcome = trained(replace(QUICK, epochs=15, rate=0.05))
    assert outcome.accuracy > 0.9
    for kind in ("quantize", "prune"):
        _, outcome = trained(replace(QUICK, epochs=15, rate=0.05), kind)
        assert outcome.accuracy > 0.85, kind


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_seed_decides_every_bit(optimizer):
    first, second, other = (
        trained(replace(QUICK, optimizer=optimizer, seed=seed), "quantize") for seed in (3, 3, 4)
    )
    assert fingerprint(first[0]) == fingerprint(second[0]) != fingerprint(other[0])
    assert first[1].loss == second[1].loss


def test_neither_threads_nor_other_random_numbers_change_a_bit():
    first = fingerprint(trained(kind="prune")[0])
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        torch.manual_seed(99)
        state = torch.get_rng_state()
        assert fingerprint(trained(kind="prune")[0]) == first
        assert torch.equal(torch.get_rng_state(), state), "the caller's numbers go on as they were"
        assert torch.get_num_threads() == 3
        assert not torch.are_deterministic_algorithms_enabled()
    finally:
        torch.set_num_threads(threads)


class StoppedError(Exception):
    pass


def stop_at(step):
    def progress(moment):
        if moment.step == step:
            raise StoppedError

    return progress


@pytest.mark.parametrize("kind", ["none", "quantize", "prune"])
@pytest.mark.parametrize("stop", [2, 7, 12])
def test_a_stopped_run_goes_on_with_the_same_bits(kind, stop, tmp_path):
    whole, outcome = trained(kind=kind)
    with pytest.raises(StoppedError):
        trained(kind=kind, folder=tmp_path, every=0.0, progress=stop_at(stop))
    moments: list[Moment] = []
    net, again = trained(kind=kind, folder=tmp_path, progress=moments.append)
    assert fingerprint(net) == fingerprint(whole)
    assert (again.loss, again.history, again.steps) == (
        outcome.loss,
        outcome.history,
        outcome.steps,
    )
    assert len(moments) == 12 - (stop - 1), "what was done is not done again"
    assert not (tmp_path / NAME).exists()


@pytest.mark.parametrize("kind", ["quantize", "prune"])
def test_killed_and_resumed(kind, tmp_path):
    """kill -9 at some step, then on from the checkpoint: the bits of a run left alone."""
    command = [sys.executable, "-m", "tests.layers.finetuning.tiny_task", str(tmp_path), kind]
    root = Path(__file__).parents[3]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=root, env=dict(os.environ)
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) == 9:
                process.send_signal(signal.SIGKILL)
                break
        assert process.wait(timeout=60) == -signal.SIGKILL
    assert (tmp_path / NAME).is_file()
    assert not [p for p in tmp_path.iterdir() if p.name != NAME and not p.name.endswith(".tmp")]
    training = Training(epochs=4, batch=8, seed=3)
    moments: list[Moment] = []
    net, _ = trained(training, kind, folder=tmp_path, progress=moments.append)
    assert moments[0].step > 8 and moments[-1].step == 24
    assert fingerprint(net) == fingerprint(trained(training, kind)[0])


def test_the_run_that_is_killed_is_that_run(tmp_path, capsys):
    """What the test above kills would, left alone, be what it compares with."""
    slow_run(tmp_path, "quantize")
    assert capsys.readouterr().out.split()[-1] == "24"


def test_distillation_learns_the_teacher_and_not_the_labels():
    teacher, start = network()[0], network()[0]
    restart_weights(teacher, 9)
    teacher.eval()
    x, y = tensors(48, 1)
    training = replace(QUICK, epochs=8, rate=0.05, distill=1.0)
    nets = []
    for labels in (y, y.flip(0)):
        nets.append(deepcopy(start))
        train(nets[-1], Examples("x", Held(x, labels), Held(x, labels)), training, teacher=teacher)
    assert fingerprint(nets[0]) == fingerprint(nets[1])

    @torch.no_grad()
    def apart(net):
        wanted, given = (n.eval()(x).log_softmax(dim=1) for n in (teacher, net))
        return float((wanted.exp() * (wanted - given)).sum(dim=1).mean())

    assert apart(nets[0]) < apart(start) / 2
    with pytest.raises(FinetuneError, match="needs a teacher"):
        trained(replace(QUICK, distill=0.5))


def test_new_weights_are_those_of_the_seed():
    first, second, other = (network()[0] for _ in range(3))
    before = fingerprint(first)
    for net, seed in ((first, 1), (second, 1), (other, 2)):
        restart_weights(net, seed)
    assert len({before, fingerprint(first), fingerprint(other)}) == 3
    assert fingerprint(first) == fingerprint(second)


def test_a_loss_that_is_no_number_stops_and_says_where():
    with pytest.raises(FinetuneError, match=r"loss is (nan|inf) at step \d+ of 12.*train\.rate"):
        trained(replace(QUICK, rate=1e30))
    x, y = tensors(16, 1)
    x[0, 0, 0, 0] = torch.nan
    with pytest.raises(FinetuneError, match=r"step 1 of 4.*inputs are finite"):
        train(
            network()[0], Examples("x", Held(x, y), Held(x, y)), replace(QUICK, batch=16, epochs=4)
        )


def test_a_checkpoint_of_something_else(tmp_path):
    with pytest.raises(StoppedError):
        trained(kind="quantize", folder=tmp_path, every=0.0, progress=stop_at(3))
    other = network()[0]
    restart_weights(other, 1)
    with pytest.raises(FinetuneError, match=r"checkpoint of another model.*remove .*checkpoint.pt"):
        train(other, examples(), QUICK, compression=COMPRESSIONS["quantize"], folder=tmp_path)
    with pytest.raises(FinetuneError, match="with other settings"):
        trained(replace(QUICK, rate=0.02), "quantize", folder=tmp_path)
    data = Examples("x", Held(*tensors(40, 9)), Held(*tensors(8, 8)))
    with pytest.raises(FinetuneError, match="on other examples"):
        train(network()[0], data, QUICK, compression=COMPRESSIONS["quantize"], folder=tmp_path)
    (tmp_path / NAME).write_bytes((tmp_path / NAME).read_bytes()[:500])
    with pytest.raises(FinetuneError, match="cannot be read"):
        trained(kind="quantize", folder=tmp_path)


def test_code_in_a_checkpoint_is_not_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "sprung",))

    torch.save({"format": 1, "recipe": {}, "state": Trap()}, tmp_path / NAME)
    with pytest.raises(FinetuneError, match="cannot be read"):
        trained(folder=tmp_path)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"optimizer": "lion"}, "sgd, adam"),
        ({"epochs": -1}, "epochs must be 0 or more"),
        ({"rate": 0.0}, "rate positive"),
        ({"distill": 2.0}, "share from 0 to 1"),
    ],
)
def test_impossible_settings(change, words):
    with pytest.raises(FinetuneError, match=words):
        trained(replace(QUICK, **change))


def test_impossible_devices(monkeypatch):
    with pytest.raises(FinetuneError, match="unknown device 'gpu0'"):
        trained(device="gpu0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(FinetuneError, match="no CUDA device"):
        trained(device="cuda")


def test_a_network_that_scores_no_classes():
    x, y = tensors(16, 1)
    with pytest.raises(FinetuneError, match=r"must return scores \(batch, classes\)"):
        train(nn.Conv2d(1, 2, 3), Examples("x", Held(x, y), Held(x, y)), QUICK)
    few = nn.Sequential(nn.Flatten(), nn.Linear(36, 2))
    with pytest.raises(FinetuneError, match="label 2, but the network scores 2 classes"):
        train(few, Examples("x", Held(x, y), Held(x, y)), QUICK)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("kind", ["quantize", "prune"])
def test_on_a_gpu_two_runs_give_the_same_bits(kind):
    first, second = (trained(kind=kind, device="cuda")[0].cpu() for _ in range(2))
    assert fingerprint(first) == fingerprint(second)
