"""Any model, any inputs: the Gram must give the squared norm of what the layer puts out."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from layers import capture_layers, dump_from, read_dump, write_dump
from layers.capture.to_dump import LAYOUT
from layers.dump.layer import LayerDump
from layers.dump.layout import PLAIN, to_rows
from layers.errors import CalibrationError, CaptureError, DumpError, SourceError
from layers.extract import extract, list_layers
from layers.networks.batches import batch_hash, make_batches
from layers.networks.open import open_source

HALF = torch.float64


def seeded(module: nn.Module) -> Any:
    """In double precision, with random weights that fit float32."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return module.double().eval()


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=HALF)


def energies(dump: LayerDump, blocks: tuple[np.ndarray, ...] | None = None) -> np.ndarray:
    w = dump.weights.astype(np.float64).reshape(dump.groups, -1, dump.features)
    gram = (blocks or dump.gram_blocks)[0]
    return np.einsum("gcn,gnm,gcm->gc", w, gram, w).reshape(-1)


class Conv1D(nn.Module):
    """As transformers has it for GPT-2."""

    def __init__(self, nf: int, nx: int) -> None:
        super().__init__()
        self.nf = nf
        self.weight, self.bias = nn.Parameter(torch.empty(nx, nf)), nn.Parameter(torch.zeros(nf))

    def forward(self, x: Tensor) -> Tensor:
        out = torch.addmm(self.bias, x.view(-1, x.size(-1)), self.weight)
        return out.view(*x.shape[:-1], self.nf)


ONE = (2, 6, 11)
TWO = (2, 6, 5, 7)
LAYERS: list[tuple[str, nn.Module, tuple[int, ...]]] = [
    ("linear", nn.Linear(6, 4), (3, 5, 6)),
    ("conv1d", nn.Conv1d(6, 4, 3, stride=2, padding=1, dilation=2), ONE),
    ("conv1d same", nn.Conv1d(6, 4, 3, padding="same", dilation=2, groups=2), ONE),
    ("conv1d reflect", nn.Conv1d(6, 4, 3, padding=2, padding_mode="reflect"), ONE),
    ("conv1d alone", nn.Conv1d(6, 4, 3), (6, 11)),
    ("up", nn.ConvTranspose2d(6, 4, 3, stride=2, padding=1, output_padding=1), TWO),
    ("up, uneven", nn.ConvTranspose2d(6, 4, (3, 2), (1, 3), (2, 0), dilation=(2, 1)), TWO),
    ("up, groups", nn.ConvTranspose2d(6, 9, 3, stride=2, groups=3), TWO),
    ("up, cut", nn.ConvTranspose2d(6, 4, 2, stride=2, padding=3), TWO),
    ("up 1-d", nn.ConvTranspose1d(6, 4, 4, stride=3, padding=1, groups=2), ONE),
    ("up 1-d alone", nn.ConvTranspose1d(6, 4, 4, stride=3), (6, 11)),
    ("stored transposed", Conv1D(4, 6), (3, 5, 6)),
]


@pytest.mark.parametrize(("label", "module", "shape"), LAYERS, ids=[case[0] for case in LAYERS])
def test_energy_is_the_squared_norm_of_the_output(
    label: str, module: nn.Module, shape: tuple[int, ...]
) -> None:
    layer = seeded(module)
    parts = [draw(*shape, seed=seed) for seed in (1, 2, 3)]
    dump = dump_from(layer, parts[:2], parts[2], name=label)
    axis = -1 if dump.kind == "linear" else 1
    for given, blocks in ((parts[:2], dump.gram_blocks), (parts[2:], dump.heldout_blocks)):
        expected = torch.zeros(dump.channels, dtype=HALF)
        for x in given:
            with torch.no_grad():
                out = layer(x)
                out = out if axis == -1 or out.dim() == len(TWO) or x.dim() == 3 else out[None]
                silent = layer(torch.zeros_like(x))
                silent = silent if silent.dim() == out.dim() else silent[None]
            expected += (out - silent).movedim(axis, -1).reshape(-1, dump.channels).square().sum(0)
        np.testing.assert_allclose(energies(dump, blocks), expected.numpy(), rtol=1e-10)
    layout = dump.recipe.get(LAYOUT, PLAIN)
    rows = to_rows(layer.weight.detach().numpy(), layout, dump.weight_shape, dump.groups)
    assert np.array_equal(rows, dump.weights), "the stored tensor and the dump are the same weights"
    assert (dump.layer, dump.source) == (label, "arrays")


def test_arrays_are_layers_too() -> None:
    rng = np.random.default_rng(1)
    w = rng.standard_normal((5, 8)).astype(np.float32)
    x = rng.standard_normal((40, 8))
    dump = dump_from(w, x)
    np.testing.assert_allclose(dump.gram_blocks[0][0], x.T @ x, rtol=1e-12, atol=1e-12)
    assert dump.heldout_blocks == () and dump.heldout_rows == 0 and dump.rows == 40
    assert dump.chunks(4)[0].heldout_gram is None
    kernel = rng.standard_normal((4, 3, 3, 3)).astype(np.float32)
    image = rng.standard_normal((2, 6, 9, 9))
    conv = dump_from(kernel, image, stride=2, padding=1, groups=2)
    out = functional.conv2d(
        torch.from_numpy(image), torch.from_numpy(kernel).double(), None, 2, 1, 1, 2
    )
    np.testing.assert_allclose(energies(conv), out.square().sum((0, 2, 3)).numpy(), rtol=1e-10)


def test_what_is_no_layer_is_refused() -> None:
    for weights, inputs, words in [
        (np.zeros(3), np.zeros((2, 3)), "give .out, in. or"),
        (np.zeros((2, 3)), np.zeros((2, 4)), "does not end in the layer's 3"),
        ("text", np.zeros(2), "no array of numbers"),
        (np.full((2, 3), 0.1), np.zeros((2, 3)), "do not fit float32"),
        (nn.Conv3d(1, 1, 1), np.zeros((1, 1, 2, 2, 2)), "root"),
    ]:
        with pytest.raises(CaptureError, match=words):
            dump_from(weights, inputs)


def test_dumps_without_heldout_part_round_trip(tmp_path: Path) -> None:
    dump = dump_from(np.eye(3, dtype=np.float32), np.eye(3))
    write_dump(tmp_path / "a.safetensors", dump)
    back = read_dump(tmp_path / "a.safetensors")
    assert back.content_hash == dump.content_hash and back.heldout_blocks == ()
    with pytest.raises(DumpError, match="unless there is no held-out Gram"):
        LayerDump(
            source="s", layer="l", kind="linear", weights=dump.weights, rows=1, heldout_rows=2,
            gram_blocks=dump.gram_blocks, heldout_blocks=(), weight_shape=(3, 3),
        )  # fmt: skip


class Words(nn.Module):
    """Token ids and a mask by name; a tied head, chosen experts, a recurrent part, attention."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(11, 8)
        self.qkv = nn.Linear(8, 24)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.experts = nn.ModuleList([nn.Linear(8, 8) for _ in range(3)])
        self.memory = nn.GRU(8, 8, batch_first=True)
        self.again = nn.Linear(8, 8)
        self.volume = nn.Conv3d(1, 1, 1)
        self.head = nn.Linear(8, 11, bias=False)
        self.head.weight = self.table.weight

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        x = self.table(ids) * mask[..., None]
        q, k, v = self.qkv(x).chunk(3, -1)
        x = self.attention(x, x, x)[0] + q + k + v
        x = self.experts[int(ids[0, 0]) % 2](x)
        x = self.memory(x)[0]
        return self.head(self.again(self.again(x)))


def words() -> list[dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(4)
    first = [torch.randint(0, 11, (2, 6), generator=generator) for _ in range(3)]
    for i, ids in enumerate(first):
        ids[0, 0] = i
    return [{"ids": ids, "mask": torch.ones(2, 6, dtype=HALF)} for ids in first]


def test_a_language_model_from_token_ids() -> None:
    model = seeded(Words()).train()
    told: dict[str, str] = {}
    found = capture_layers(
        model, words()[:2], heldout=words()[2:], source="words",
        reject=lambda name, error: told.setdefault(name, str(error)),
    )  # fmt: skip
    dumps = {dump.layer: dump for dump in found}
    # The expert that was never chosen in the held-out batch has nothing to be judged on.
    assert list(dumps) == ["qkv", "attention.in_proj", "attention.out_proj", "experts.0", "head"]
    assert set(told) == {"table", "memory", "volume", "experts.1", "experts.2", "again"}
    assert "fired 2 times" in told["again"] and "Conv3d" in told["volume"]
    assert "looked up" in told["table"] and "never fired" in told["experts.1"]
    assert "GRU" in told["memory"] and model.training
    assert dumps["qkv"].rows == 24 and dumps["experts.0"].rows == 12
    assert [name for name, _ in dumps["qkv"].images] == ["batch 0", "batch 1"]
    assert dumps["qkv"].heldout_images[0][0] == "held-out batch 0"
    assert dumps["qkv"].recipe["inputs"] == "batches"


def test_both_projections_of_attention() -> None:
    model = seeded(nn.MultiheadAttention(8, 2, batch_first=True))
    x, outputs = draw(2, 5, 8), []
    dumps = {d.layer: d for d in capture_layers(model, [(x, x, x)])}
    assert dumps["in_proj"].weights.shape == (24, 8)
    flat = x.reshape(-1, 8).numpy()
    np.testing.assert_allclose(dumps["in_proj"].gram_blocks[0][0], flat.T @ flat, atol=1e-12)
    with torch.no_grad():
        outputs = (model(x, x, x)[0] - model.out_proj.bias).square().sum((0, 1))
    np.testing.assert_allclose(energies(dumps["out_proj"]), outputs.numpy(), rtol=1e-10)
    other = [(x, draw(2, 4, 8, seed=1), draw(2, 4, 8, seed=2))]
    assert [d.layer for d in capture_layers(model, other)] == ["out_proj"]
    with pytest.raises(CaptureError, match="cross-attention"):
        capture_layers(model, other, "in_proj")


def test_batches_of_every_shape() -> None:
    model, x = seeded(nn.Linear(4, 3)), draw(5, 4)
    grams = [
        capture_layers(model, batches)[0].gram_blocks[0]
        for batches in ([x], [(x,)], [[x]], [{"input": x}], iter([x[:2], x[2:]]), [x.numpy()[None]])
        if not isinstance(batches, list) or not isinstance(batches[0], np.ndarray)
    ]
    for gram in grams[1:]:
        np.testing.assert_allclose(gram, grams[0], rtol=1e-12)
    for wrong, words_ in (
        (x, "write .inputs. for a single batch"),
        ({"input": x}, "one dict"),
        ([], "no batch"),
    ):
        with pytest.raises(CalibrationError, match=words_):
            capture_layers(model, wrong)
    with pytest.raises(CaptureError, match="fails on batch 1 with TypeError"):
        capture_layers(model, [x, (x, x)])


def test_hashes_know_content_type_and_names() -> None:
    x = torch.arange(4.0)
    values: list[Any] = [x, x.double(), x.reshape(2, 2), x.numpy(), (x,), (x, 1), (x, 2), (x, None)]
    values += [{"a": x}, {"b": x}, {"a": x, "b": {"c": 1}}, "text"]
    hashes = [batch_hash(value) for value in values]
    assert len(set(hashes)) == len(hashes)
    assert batch_hash({"a": x, "b": 1}) == batch_hash({"b": 1, "a": x.clone()})
    assert batch_hash(x.bfloat16()) == batch_hash(x.bfloat16())


def test_batches_are_split_evenly() -> None:
    parts = make_batches([torch.full((1,), float(i)) for i in range(10)]).split(0.3, None, None)
    assert [b.name for b in parts.heldout] == ["batch 1", "batch 5", "batch 8"]
    assert len(parts.images) == 7
    one = make_batches([torch.zeros(1)])
    assert len(one.split(0.3, None, None).heldout) == 0
    assert len(make_batches([1, 2, 3]).split(0.3, 0, 2).images) == 2
    with pytest.raises(CalibrationError, match="cannot hold out 1 of 1 batches"):
        one.split(0.3, 1, None)


def own(name: str, **functions: Any) -> str:
    module = ModuleType(name)
    vars(module).update(functions)
    sys.modules[name] = module
    return name


def test_a_function_that_brings_its_batches(tmp_path: Path) -> None:
    name = own(
        "tests_own_batches",
        both=lambda: (seeded(Words()), words()),
        split=lambda: (seeded(Words()), words()[:2], words()[2:]),
        none=lambda: (seeded(Words()), []),
    )
    told: list[str] = []
    paths = extract(f"{name}:both", ["*"], out_folder=tmp_path, reject=lambda n, _: told.append(n))
    dumps = [read_dump(path) for path in paths]
    assert [d.layer for d in dumps][:2] == ["qkv", "attention.in_proj"]
    assert (dumps[0].rows, dumps[0].heldout_rows) == (24, 12)
    assert {"table", "memory", "volume", "again"} <= set(told)
    stamps = [path.stat().st_mtime_ns for path in paths]
    again = extract(f"{name}:both", ["qkv", "head"], out_folder=tmp_path)
    assert [p.stat().st_mtime_ns for p in again] == [stamps[0], stamps[-1]], "up to date"
    [alone] = extract(f"{name}:both", ["qkv"], out_folder=tmp_path, heldout_count=0)
    assert read_dump(alone).heldout_rows == 0
    [split] = extract(f"{name}:split", ["qkv"], out_folder=tmp_path)
    assert (read_dump(split).rows, read_dump(split).heldout_rows) == (24, 12)
    with pytest.raises(CaptureError, match="brings its own batches"):
        extract(f"{name}:both", ["qkv"], "photographs", tmp_path)
    with pytest.raises(CalibrationError, match="no batch"):
        open_source(f"{name}:none")


transformers_missing = "the package transformers is not installed (extra hf)"


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    pytest.importorskip("transformers", reason=transformers_missing)
    from tokenizers import Tokenizer, models, pre_tokenizers  # pyright: ignore[reportMissingImports]
    from transformers import PreTrainedTokenizerFast  # pyright: ignore[reportMissingImports]

    table = {word: i for i, word in enumerate(["[UNK]", *"abcdefghij"])}
    inner = Tokenizer(models.WordLevel(table, "[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="[UNK]")


@pytest.mark.parametrize(("kind", "layer", "count"), [("Llama", "down_proj", 15), ("Bert", "", 14)])
def test_a_folder_of_transformers(
    kind: str, layer: str, count: int, tokenizer: Any, tmp_path: Path
) -> None:
    import transformers  # pyright: ignore[reportMissingImports]

    sizes: dict[str, Any] = {
        "vocab_size": 16, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
        "num_attention_heads": 2, "max_position_embeddings": 32,
    }  # fmt: skip
    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(**sizes)
    name = {"Llama": "LlamaForCausalLM", "Bert": "BertForMaskedLM"}[kind]
    model = getattr(transformers, name)(config)
    folder, text = tmp_path / "model", tmp_path / "text.txt"
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    text.write_text("a b c d e f g h i j " * 10)
    assert len(list_layers(f"hf:{folder}")) == count
    told: list[str] = []
    paths = extract(
        f"hf:{folder}@{text}", ["*"], out_folder=tmp_path / "dumps",
        reject=lambda n, _: told.append(n),
    )  # fmt: skip
    dumps = {dump.layer: dump for dump in map(read_dump, paths)}
    assert len(dumps) == count and all("embed" in name for name in told)
    some = next(d for name, d in dumps.items() if name.endswith(layer or "intermediate.dense"))
    assert some.rows + some.heldout_rows == 100 and some.heldout_rows > 0
    assert some.recipe["inputs"] == "tokens of text.txt, 32 at a time"
    for bad, words_ in (
        (f"hf:{tmp_path}", "no config.json"),
        (f"hf:{folder}@nowhere", "cannot be"),
    ):
        with pytest.raises(SourceError, match=words_):
            open_source(bad)
