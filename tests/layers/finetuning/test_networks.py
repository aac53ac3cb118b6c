"""What is measured on networks: batch-norm statistics, likeness, which layers can be compressed."""

from __future__ import annotations

import math
from copy import deepcopy

import pytest
import torch
from torch import nn

from layers.errors import FinetuneError
from layers.finetuning.compare import compare
from layers.finetuning.examples import batches, even_batches
from layers.finetuning.norms import reestimate
from layers.finetuning.targets import find_targets
from tests.layers.finetuning.tiny_task import examples, network


def test_statistics_are_those_of_the_batches():
    net = network()[0]
    part = examples().train
    norm: nn.BatchNorm2d = net.norm  # pyright: ignore
    reestimate(net, even_batches(part, "cpu", 16))
    with torch.no_grad():
        outputs = [net.conv(x) for x in even_batches(part, "cpu", 16)]  # pyright: ignore
    means = torch.stack([out.mean(dim=(0, 2, 3)) for out in outputs]).mean(dim=0)
    variances = torch.stack([out.var(dim=(0, 2, 3)) for out in outputs]).mean(dim=0)
    assert norm.running_mean is not None and norm.running_var is not None
    torch.testing.assert_close(norm.running_mean, means)
    torch.testing.assert_close(norm.running_var, variances)
    assert norm.momentum == 0.1 and not any(m.training for m in net.modules())


def test_a_network_without_statistics_stays_as_it_is():
    net = nn.Linear(3, 2)
    reestimate(net, iter([]))
    assert not net.training


def test_likeness_is_that_of_the_outputs():
    first, part = network()[0], examples().test
    second = deepcopy(first)
    same = compare(first, second, ["conv", "head"], part)
    assert same["head"].cka == pytest.approx(1.0) and same["head"].snr == math.inf
    with torch.no_grad():
        second.conv.weight.mul_(1.1)  # pyright: ignore
    found = compare(first, second, ["conv", "depthwise"], part)
    assert found["conv"].cka == pytest.approx(1.0), "CKA does not see a scale"
    assert found["conv"].snr == pytest.approx(20.0, abs=1e-4), "SNR does: a tenth is 20 dB"
    x = torch.cat([x for x, _ in batches(part, "cpu")])
    with torch.no_grad():
        assert found["conv"].energy == pytest.approx(float(first.conv(x).square().sum()))  # pyright: ignore
    assert not first.conv._forward_hooks  # pyright: ignore


def test_targets_are_the_layers_that_run():
    net = network()[0]
    net.unused = nn.Linear(2, 2)
    example = examples().train.inputs([0, 1])
    assert list(find_targets(net, example)) == ["conv", "depthwise", "head"]
    assert list(find_targets(net, example, ["head", "conv"])) == ["depthwise"]
    assert net.training, "as it was"


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Linear(4, 4)
        self.out = nn.Linear(4, 2)

    def forward(self, x):
        return self.out(self.one(self.one(x)))


def test_shared_layers_are_refused():
    example = torch.ones(2, 4)
    with pytest.raises(FinetuneError, match=r"'one' runs 2 times .* skip it"):
        find_targets(Twice(), example)
    assert list(find_targets(Twice(), example, ["one"])) == ["out"]
    tied = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    tied[1].weight = tied[0].weight
    with pytest.raises(FinetuneError, match=r"'0' and '1' share their weight"):
        find_targets(tied, example)
    layer = nn.Linear(4, 4)
    with pytest.raises(FinetuneError, match=r"'0' and '1' share"):
        find_targets(nn.Sequential(layer, layer), example)
    with pytest.raises(FinetuneError, match="no Conv2d or Linear"):
        find_targets(nn.Sequential(layer, layer), example, ["0", "1"])


def test_inputs_that_do_not_fit_the_network():
    with pytest.raises(FinetuneError, match=r"does not take inputs of shape \(1, 9, 9\)"):
        find_targets(network()[0], torch.zeros(2, 1, 9, 9))
    with pytest.raises(FinetuneError, match="no layer 'hed' to skip"):
        find_targets(network()[0], torch.zeros(2, 1, 6, 6), ["hed"])
