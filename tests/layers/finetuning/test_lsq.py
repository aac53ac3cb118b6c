"""Learned steps against the paper's formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from bounds.problem.grid import choose_scale
from layers.errors import FinetuneError
from layers.finetuning.lsq import LearnedStep, Quantized, code_range, mse_step


def by_the_paper(weight, step, bits, upstream):
    """Esser et al. 2020, eq. 1 to 3 and 5 and section 2.2, a number at a time."""
    low, high = 2 ** (bits - 1), 2 ** (bits - 1) - 1
    value, of_weight = np.zeros_like(weight), np.zeros_like(weight)
    of_step = 0.0
    for index, w in np.ndenumerate(weight):
        ratio = w / step
        value[index] = np.rint(np.clip(ratio, -low, high)) * step
        if -low < ratio < high:
            of_weight[index] = upstream[index]
            of_step += upstream[index] * (-ratio + np.rint(ratio))
        else:
            of_step += upstream[index] * (-low if ratio <= -low else high)
    return value, of_weight, of_step / math.sqrt(weight.size * high)


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_value_and_gradients_are_the_papers(bits):
    rng = np.random.default_rng(bits)
    weight, upstream = rng.normal(size=(2, 5, 7))
    step = 1.3 / 2 ** (bits - 1)  # so that some weights are clipped
    x = torch.tensor(weight, requires_grad=True)
    layer = LearnedStep(x, bits)
    with torch.no_grad():
        layer.step.fill_(step)
    out = layer(x)
    out.backward(torch.tensor(upstream))
    value, of_weight, of_step = by_the_paper(weight, step, bits, upstream)
    assert x.grad is not None and layer.step.grad is not None
    np.testing.assert_allclose(out.detach().numpy(), value, rtol=1e-14)
    np.testing.assert_array_equal(x.grad.numpy(), of_weight)
    assert float(layer.step.grad.detach()) == pytest.approx(of_step, rel=1e-12)
    assert (x.grad == 0).any() and (x.grad != 0).any()


def test_gradients_are_those_of_the_straight_through_graph():
    """The construction of the paper's appendix: detached differences, differentiated by torch."""
    torch.manual_seed(0)
    weight = torch.randn(6, 4, dtype=torch.float64, requires_grad=True)
    step = torch.full((6, 1), 0.4, dtype=torch.float64, requires_grad=True)
    scale = 1 / math.sqrt(4 * 3)
    upstream = torch.randn(6, 4, dtype=torch.float64)
    scaled = (step - step * scale).detach() + step * scale
    ratio = (weight / scaled).clamp(-4, 3)
    graph = ((ratio.round() - ratio).detach() + ratio) * scaled
    wanted = torch.autograd.grad(graph, [weight, step], upstream)
    out = Quantized.apply(weight, step, -4, 3, scale)
    assert isinstance(out, torch.Tensor)
    given = torch.autograd.grad(out, [weight, step], upstream)
    for one, other in zip(given, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-13)


def test_a_step_a_channel_learns_from_its_channel_alone():
    weight = torch.randn(3, 2, 2, 2, generator=torch.Generator().manual_seed(1))
    layer = LearnedStep(weight, 3, "channel")
    assert layer.step.shape == (3, 1, 1, 1)
    assert layer.gradient_scale == pytest.approx(1 / math.sqrt(8 * 3))
    layer(weight)[1].sum().backward()
    gradient = layer.step.grad
    assert gradient is not None
    assert gradient[1] != 0 and gradient[0] == gradient[2] == 0


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_the_first_step_is_that_of_the_studies(bits):
    weight = torch.randn(8, 20, generator=torch.Generator().manual_seed(bits))
    assert mse_step(weight, bits) == choose_scale(weight.double().numpy(), bits)
    assert mse_step(torch.zeros(3), bits) == 1.0


def test_a_layer_under_it_is_on_the_grid_to_the_last_bit():
    layer = nn.Linear(9, 5)
    step = LearnedStep(layer.weight, 3)
    parametrize.register_parametrization(layer, "weight", step)
    parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
    codes = (layer.weight / step.step).round()
    assert torch.equal(codes * step.step, layer.weight)
    assert codes.min() >= -4 and codes.max() <= 3


def test_a_step_stays_positive():
    layer = LearnedStep(torch.randn(4, 4), 2)
    first = float(layer.step.detach())
    with torch.no_grad():
        layer.step.fill_(-1.0)
    layer.confine()
    assert 0 < float(layer.step.detach()) < first


@pytest.mark.parametrize("bits", [1, 17, 2.0, True])
def test_bits_out_of_range(bits):
    with pytest.raises(FinetuneError, match="2 to 16"):
        code_range(bits)


def test_another_kind_of_step():
    with pytest.raises(FinetuneError, match="tensor, channel"):
        LearnedStep(torch.ones(2, 2), 4, "group")
