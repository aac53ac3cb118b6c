"""Rows times weights must be the layer's output, for every way to convolve."""

from itertools import product
from typing import Any

import pytest
import torch
from torch.nn import functional

from layers.capture import lowering
from layers.capture.gram import GramSum, block_width
from layers.capture.lowering import lower
from layers.dump.geometry import Geometry, conv2d_geometry
from layers.errors import CaptureError

GRID = [
    {"stride": s, "padding": p, "dilation": d, "groups": g, "kernel": k}
    for s, p, d, g, k in product(
        (1, 2, (2, 1)),
        (0, 1, (2, 1), "same", "valid"),
        (1, 2, (1, 3)),
        (1, 2, 6),
        ((1, 1), (3, 3), (2, 3), (4, 2)),
    )
    if not (p == "same" and s != 1)
]


def gram_of(x: torch.Tensor, geometry: Geometry) -> torch.Tensor:
    total = GramSum(geometry.groups, geometry.features, None)
    total.add(lower(x, geometry))
    return torch.from_numpy(total.result()[0])


# torch says so once when 'same' needs one zero more on one side.
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")
@pytest.mark.parametrize("case", GRID, ids=lambda c: "-".join(str(v) for v in c.values()))
def test_convolution(case: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    # Small blocks, so that the splitting is exercised too.
    monkeypatch.setattr(lowering, "BLOCK_ELEMENTS", 300)
    generator = torch.Generator().manual_seed(1)
    kernel, groups = case["kernel"], case["groups"]
    case = {key: value for key, value in case.items() if key != "kernel"}
    weight = torch.randn(12, 6 // groups, *kernel, generator=generator, dtype=torch.float64)
    x = torch.randn(2, 6, 11, 9, generator=generator, dtype=torch.float64)
    out = functional.conv2d(x, weight, None, **case)
    geometry = conv2d_geometry(tuple(weight.shape), **case)

    rows = torch.cat(list(lower(x, geometry)), dim=1)
    split = weight.reshape(groups, 12 // groups, -1)
    product_ = torch.einsum("grn,gcn->rgc", rows, split).reshape(rows.shape[1], 12)
    expected = out.permute(0, 2, 3, 1).reshape(-1, 12)
    torch.testing.assert_close(product_, expected, rtol=1e-12, atol=1e-12)

    energy = torch.einsum("gcn,gnm,gcm->gc", split, gram_of(x, geometry), split).reshape(12)
    torch.testing.assert_close(energy, expected.square().sum(0), rtol=1e-10, atol=0)


@pytest.mark.parametrize("leading", [(7,), (2, 5), (2, 3, 4), ()])
def test_linear(leading: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lowering, "BLOCK_ELEMENTS", 20)
    generator = torch.Generator().manual_seed(2)
    weight = torch.randn(4, 6, generator=generator, dtype=torch.float64)
    x = torch.randn(*leading, 6, generator=generator, dtype=torch.float64)
    out = functional.linear(x, weight).reshape(-1, 4)
    gram = gram_of(x, Geometry("linear", (4, 6)))[0]
    torch.testing.assert_close(
        torch.einsum("cn,nm,cm->c", weight, gram, weight), out.square().sum(0), rtol=1e-10, atol=0
    )


def test_channels_last_and_unbatched_inputs_give_the_same_rows() -> None:
    x = torch.randn(1, 4, 6, 5, generator=torch.Generator().manual_seed(3))
    geometry = conv2d_geometry((2, 4, 3, 3), padding=1)
    plain = gram_of(x, geometry)
    assert torch.equal(plain, gram_of(x.to(memory_format=torch.channels_last), geometry))
    assert torch.equal(plain, gram_of(x[0], geometry))
    assert torch.equal(plain, gram_of(torch.cat([x, x])[1:], geometry))


def test_blocks_are_the_diagonal_of_the_full_gram() -> None:
    x = torch.randn(2, 5, 8, 8, generator=torch.Generator().manual_seed(4))
    geometry = conv2d_geometry((3, 5, 3, 3))
    full = gram_of(x, geometry)[0]
    width = block_width(geometry, 20)
    assert width == 18
    total = GramSum(1, geometry.features, width)
    total.add(lower(x, geometry))
    for i, block in enumerate(total.result()):
        part = slice(18 * i, min(18 * i + 18, 45))
        torch.testing.assert_close(
            torch.from_numpy(block)[0], full[part, part], rtol=1e-13, atol=1e-12
        )
        assert (block == block.swapaxes(1, 2)).all()


def test_automatic_blocks() -> None:
    assert block_width(Geometry("linear", (4, 4096)), "auto") is None
    assert block_width(Geometry("linear", (4, 4097)), "auto") == 36
    assert block_width(conv2d_geometry((4, 512, 3, 3)), "auto") == 36
    assert block_width(conv2d_geometry((4, 256, 5, 5)), "auto") == 25
    assert block_width(conv2d_geometry((4, 256, 7, 7)), "auto") == 49
    assert block_width(Geometry("linear", (4, 3000)), "full") is None
    assert block_width(Geometry("linear", (4, 30)), 36) is None
    for wrong in ("half", 0, -1, True, 2.5):
        with pytest.raises(CaptureError, match="positive width"):
            block_width(Geometry("linear", (4, 30)), wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("x", "geometry", "words"),
    [
        (torch.zeros(2, 5), Geometry("linear", (4, 6)), "6 features"),
        (torch.zeros(1, 5, 4, 4), conv2d_geometry((2, 4, 3, 3)), "groups of 4"),
        (torch.zeros(1, 4, 2, 2), conv2d_geometry((2, 4, 3, 3)), "smaller than"),
    ],
)
def test_inputs_that_do_not_fit(x: torch.Tensor, geometry: Geometry, words: str) -> None:
    with pytest.raises(CaptureError, match=words):
        list(lower(x, geometry))
